//! One direction of a link: what is on its way, and how it ends.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lentic_runtime::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::knobs::SimKnobs;
use super::path::{Path, given_up, open};
use super::state::Shared;
use crate::link::{Address, Class, LinkClosed};
use crate::queue::{LinkReceiver, LinkSender, Slot};

/// Most frames on their way in one direction.
const FLYING_FRAMES_MAX: usize = 256;

/// Most bytes of them; the one that exceeds it is the last.
const FLYING_BYTES_MAX: usize = 1 << 20;

/// How a link is doing. It only ever gets worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    /// One end has left: what it had sent before arrives, then the link is gone.
    Leaving,
    /// Both ends find it gone; what was on its way is lost.
    Broken(Arc<str>),
}

/// The fate of a link, seen by both of its wires.
#[derive(Clone, Debug)]
pub(super) struct Destiny(Arc<watch::Sender<Fate>>);

impl Destiny {
    pub(super) fn open() -> Self {
        Self(Arc::new(watch::channel(Fate::Open).0))
    }

    /// Breaks the link; false if it was broken already.
    pub(super) fn break_link(&self, reason: &str) -> bool {
        self.0.send_if_modified(|fate| {
            let whole = !matches!(fate, Fate::Broken(_));
            if whole {
                *fate = Fate::Broken(reason.into());
            }
            whole
        })
    }

    fn leave(&self) {
        self.0.send_if_modified(|fate| {
            let open = *fate == Fate::Open;
            if open {
                *fate = Fate::Leaving;
            }
            open
        });
    }
}

/// Which way, of which link.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) link: u64,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) class: Class,
    /// From the end that dialled.
    pub(super) from_dialler: bool,
}

/// One direction of a link.
pub(super) struct Wire {
    pub(super) way: Way,
    /// What the sending end sends.
    pub(super) source: LinkReceiver,
    /// To the receiving end.
    pub(super) sink: LinkSender,
    pub(super) there: watch::Receiver<Path>,
    /// How the sending end learns that the receiving one has left.
    pub(super) back: watch::Receiver<Path>,
    pub(super) destiny: Destiny,
    pub(super) random: Random,
    pub(super) shared: Arc<Shared>,
}

/// Something on its way: a frame, or the news that no more will come.
struct Flying {
    at: Instant,
    frame: Option<Bytes>,
    late: bool,
    /// It would be there if there were no cut.
    held: bool,
}

/// What is on its way, oldest first.
struct Air {
    flying: VecDeque<Flying>,
    bytes: usize,
    /// When the sender's line is free again.
    line_free: Instant,
    /// When the sender tries again what a cut has held back, which is over.
    resent: Option<Instant>,
}

/// What happens next on a wire.
enum Next<'a> {
    Fate(Fate),
    ReceiverLeft,
    LeavingKnown,
    GivenUp,
    Held,
    Healed,
    Arrived(Option<Slot<'a>>),
    Sent(Option<Bytes>),
}

impl Wire {
    /// Carries frames until the link is gone.
    pub(super) async fn carry(self) {
        let Self { way, mut source, sink, there, back, destiny, random, shared } = self;
        let mut air = Air { flying: VecDeque::new(), bytes: 0, line_free: Instant::now(), resent: None };
        let mut fate = destiny.0.subscribe();
        // It may have been decided before this task ran.
        fate.mark_changed();
        // Whether the sender may send more; when it learns that the receiver has left.
        let (mut taking, mut left) = (true, None);
        while taking || !air.flying.is_empty() {
            let knobs = shared.knobs();
            let next = tokio::select! {
                biased;
                fate = changed(&mut fate) => Next::Fate(fate),
                () = sink.closed(), if left.is_none() => Next::ReceiverLeft,
                () = known(left, &back), if left.is_some() => Next::LeavingKnown,
                () = given_up(there.clone(), Duration::from_millis(knobs.cut_ms_max)) => Next::GivenUp,
                next = arrival(&air, &there, &sink), if left.is_none() => next,
                frame = source.recv(), if taking && air.has_room() => Next::Sent(frame),
            };
            match next {
                Next::Fate(Fate::Broken(reason)) => {
                    let lost = air.frames() + std::iter::from_fn(|| source.try_recv()).count();
                    sink.set_reason(&reason);
                    return shared.lost(&way, reason, lost);
                }
                Next::Fate(Fate::Open) => {}
                Next::Fate(Fate::Leaving) => {
                    taking = false;
                    std::iter::from_fn(|| source.try_recv())
                        .for_each(|frame| air.depart(Some(frame), &there.borrow(), &knobs, &random));
                    source.close();
                }
                Next::ReceiverLeft => left = Some(Instant::now() + knobs.delay(&random).0),
                Next::LeavingKnown => break,
                Next::GivenUp => shared.break_link(&destiny, "it was cut for too long", |counts| &mut counts.links_cut),
                Next::Held => air.flying.iter_mut().take(1).for_each(|first| {
                    first.held = true;
                    shared.held(&way);
                }),
                Next::Healed => {
                    let was_cut = u64::try_from(there.borrow().was_cut.as_millis()).unwrap_or(u64::MAX);
                    let wait = random.next_seed() % was_cut.saturating_add(1);
                    air.resent = Some(Instant::now() + Duration::from_millis(wait));
                }
                Next::Arrived(slot) => {
                    air.resent = None;
                    let flying = air.flying.pop_front();
                    let Some((slot, (frame, late))) =
                        slot.zip(flying.and_then(|first| Some((first.frame?, first.late))))
                    else {
                        break;
                    };
                    air.bytes -= frame.len();
                    slot.send(frame.clone());
                    shared.delivered(&way, frame, late);
                }
                Next::Sent(Some(frame)) if frame.len() > way.class.frame_bytes_max() => {
                    let reason = way.class.too_large(frame.len());
                    shared.break_link(&destiny, &reason, |counts| &mut counts.links_broken);
                }
                Next::Sent(Some(_)) if knobs.resets(&random) => {
                    shared.break_link(&destiny, "it was reset", |counts| &mut counts.links_reset);
                }
                Next::Sent(frame) => {
                    taking = frame.is_some();
                    let path = *there.borrow();
                    air.depart(frame, &path, &knobs, &random);
                }
            }
        }
        // A dialling end may say that it has said all, and listen on. Every other end of a direction ends the link.
        if left.is_some() || !way.from_dialler {
            destiny.leave();
        }
        shared.ended(&way);
    }
}

impl Air {
    fn has_room(&self) -> bool {
        self.flying.len() < FLYING_FRAMES_MAX && self.bytes < FLYING_BYTES_MAX
    }

    fn frames(&self) -> usize {
        self.flying.iter().filter(|flying| flying.frame.is_some()).count()
    }

    /// A frame leaves, or the news that it was the last.
    fn depart(&mut self, frame: Option<Bytes>, path: &Path, knobs: &SimKnobs, random: &Random) {
        let bytes = frame.as_ref().map_or(0, Bytes::len);
        self.line_free = self.line_free.max(Instant::now()) + path.leaving(bytes);
        let (delay, late) = knobs.delay(random);
        // It may be there before the one ahead of it, and waits for it then.
        let at = self.line_free + delay;
        self.bytes += bytes;
        self.flying.push_back(Flying { at, frame, late, held: false });
    }
}

/// Waits until the fate is another one.
async fn changed(fate: &mut watch::Receiver<Fate>) -> Fate {
    if fate.changed().await.is_err() {
        pending::<()>().await;
    }
    fate.borrow_and_update().clone()
}

/// Waits until the sending end knows that the receiving one has left.
async fn known(left: Option<Instant>, back: &watch::Receiver<Path>) {
    if let Some(at) = left {
        sleep_until(at).await;
    }
    open(back.clone()).await;
}

/// Waits until what flies first is there and has a place, or is held back.
async fn arrival<'a>(air: &Air, there: &watch::Receiver<Path>, sink: &'a LinkSender) -> Next<'a> {
    let Some(first) = air.flying.front() else { return pending().await };
    sleep_until(first.at).await;
    if !first.held && there.borrow().cut_since.is_some() {
        return Next::Held;
    }
    open(there.clone()).await;
    if first.held {
        let Some(resent) = air.resent else { return Next::Healed };
        sleep_until(resent).await;
        open(there.clone()).await;
    }
    let Some(frame) = &first.frame else { return Next::Arrived(None) };
    match sink.reserve(frame.len()).await {
        Ok(slot) => Next::Arrived(Some(slot)),
        // Seen elsewhere.
        Err(LinkClosed) => pending().await,
    }
}
