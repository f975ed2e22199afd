//! What waits for a shard's proposer: bounded in bytes, refused beyond.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_machine::shard::{Action, RequestKey};
use lentic_machine::{Outcome, Request};
use lentic_proto::v1::Failure;
use lentic_types::{Epoch, TxnId, Version};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::traffic::Traffic;
use crate::failure;

/// A request that waits to be proposed.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) epoch: Epoch,
    pub(crate) key: Option<RequestKey>,
    pub(crate) action: Action,
    /// Bytes and operations it brings into an entry.
    pub(crate) cost: Cost,
    /// After this nobody waits for the answer.
    pub(crate) deadline: Instant,
    /// Nobody waits for the effect: it rides with others.
    pub(crate) rides: bool,
    pub(crate) reply: Reply,
}

/// How long a request that rides waits for others to ride with.
const RIDES_WITHIN: Duration = Duration::from_millis(5);

/// What a request costs an entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) bytes: usize,
    pub(crate) operations: usize,
}

/// Answers one request. Dropped without an answer, it says that the outcome is unknown.
pub(crate) struct Reply(Option<Answer>);

enum Answer {
    Call(Box<dyn FnOnce(Result<Outcome, Failure>) + Send>),
    Awaited(oneshot::Sender<Result<Outcome, Failure>>),
}

impl Reply {
    pub(crate) fn new(answer: impl FnOnce(Result<Outcome, Failure>) + Send + 'static) -> Self {
        Self(Some(Answer::Call(Box::new(answer))))
    }

    /// A reply, and what it will say. Who no longer waits for that needs none.
    pub(crate) fn awaited() -> (Self, impl Future<Output = Result<Outcome, Failure>> + Send) {
        let (sender, told) = oneshot::channel();
        let told = async { told.await.map_err(|_| failure::unknown("the node is stopping"))? };
        (Self(Some(Answer::Awaited(sender))), told)
    }

    pub(crate) fn send(mut self, result: Result<Outcome, Failure>) {
        self.answer(result);
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(&self.0, Some(Answer::Awaited(sender)) if sender.is_closed())
    }

    fn answer(&mut self, result: Result<Outcome, Failure>) {
        match self.0.take() {
            Some(Answer::Call(answer)) => answer(result),
            Some(Answer::Awaited(sender)) => drop(sender.send(result)),
            None => {}
        }
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.answer(Err(failure::unknown("the node lost track of the request; send it again with the same key")));
    }
}

/// What is left of a request whose action is on its way: enough to answer it, or to propose it again.
pub(crate) struct Asker {
    cost: Cost,
    deadline: Instant,
    pub(crate) reply: Reply,
}

impl Proposal {
    /// It would lock keys for a transaction whose coordinator is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.action, Action::Prepare(_)) && self.reply.is_forgotten()
    }

    /// The request, stamped.
    pub(crate) fn stamped(self, version: Version) -> (Request, Asker) {
        let Self { epoch: _, key, action, cost, deadline, rides: _, reply } = self;
        (Request { version, key, action }, Asker { cost, deadline, reply })
    }
}

impl Asker {
    /// The request, to be proposed again.
    pub(crate) fn again(self, epoch: Epoch, request: Request) -> Proposal {
        let Self { cost, deadline, reply } = self;
        Proposal { epoch, key: request.key, action: request.action, cost, deadline, rides: false, reply }
    }
}

/// How much may wait, and how much goes into one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    pub(crate) waiting_bytes_max: usize,
    pub(crate) entry_bytes_max: usize,
    pub(crate) entry_operations_max: usize,
    /// So many bytes are worth an entry beside others that are under way.
    pub(crate) beside_bytes_min: usize,
}

/// The queue of one shard.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    traffic: Traffic,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What ends transactions: it goes before all others, for they may wait for its keys, and beside them its number is
    /// bounded by theirs.
    endings: VecDeque<Proposal>,
    waiting: VecDeque<Proposal>,
    /// Those that were blocked, by the age of their transactions: they go before those that wait, which would take the
    /// keys from them again and again.
    again: BTreeMap<(TxnId, u64), Proposal>,
    agains: u64,
    bytes: usize,
    /// How many of them do not just ride.
    pressing: usize,
    /// When the first of those that ride has waited long enough.
    rides_until: Option<Instant>,
    /// Whether this node leads the shard and takes requests.
    open: bool,
}

impl State {
    fn len(&self) -> usize {
        self.endings.len() + self.again.len() + self.waiting.len()
    }

    /// The next request.
    fn front(&self) -> Option<&Proposal> {
        let again = || self.again.first_key_value().map(|(_, proposal)| proposal);
        self.endings.front().or_else(again).or_else(|| self.waiting.front())
    }

    fn pop_front(&mut self) -> Option<Proposal> {
        let ending = self.endings.pop_front();
        let next = ending.or_else(|| self.again.pop_first().map(|(_, proposal)| proposal));
        let next = next.or_else(|| self.waiting.pop_front())?;
        self.bytes -= next.cost.bytes;
        self.pressing -= usize::from(!next.rides);
        Some(next)
    }
}

/// What there is to gather.
enum Taken {
    Some(Vec<Proposal>),
    None,
    /// Only what rides, until then.
    Later(Instant),
}

/// Why a request was not taken.
pub(crate) enum Refused {
    NotLeader,
    Full,
}

impl Queue {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self { state: Mutex::default(), traffic, filled: Notify::new() }
    }

    /// Takes a request, or gives it back.
    pub(crate) fn offer(&self, proposal: Proposal, limits: &QueueLimits) -> Result<(), Box<(Proposal, Refused)>> {
        self.traffic.count(proposal.cost.operations, |place| proposal.action.key(place).cloned());
        let mut state = self.lock();
        if !state.open {
            return Err(Box::new((proposal, Refused::NotLeader)));
        }
        let is_ending = proposal.action.is_ending();
        // One request of any size is taken when nothing waits.
        if !is_ending && state.bytes > 0 && state.bytes + proposal.cost.bytes > limits.waiting_bytes_max {
            return Err(Box::new((proposal, Refused::Full)));
        }
        state.bytes += proposal.cost.bytes;
        match proposal.rides {
            true => drop(state.rides_until.get_or_insert_with(|| Instant::now() + RIDES_WITHIN)),
            false => state.pressing += 1,
        }
        match is_ending {
            true => state.endings.push_back(proposal),
            false => state.waiting.push_back(proposal),
        }
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// What comes to the shard.
    pub(crate) const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Takes back a request that was blocked, or gives it back.
    pub(crate) fn offer_again(&self, proposal: Proposal) -> Result<(), Box<(Proposal, Refused)>> {
        let mut state = self.lock();
        if !state.open {
            return Err(Box::new((proposal, Refused::NotLeader)));
        }
        state.bytes += proposal.cost.bytes;
        state.pressing += 1;
        // What is no transaction holds nothing up for long.
        let age = if let Action::Prepare(prepare) = &proposal.action { prepare.txn.id } else { TxnId::default() };
        let number = state.agains;
        state.agains += 1;
        state.again.insert((age, number), proposal);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for requests, and takes as many as go into one entry: at least one. While other entries are under way it
    /// waits until there are enough to be worth one beside them: each entry costs every replica the same, whatever it
    /// holds. [`Self::look_again`] when none is under way any more.
    pub(crate) async fn gather(&self, limits: &QueueLimits, is_alone: impl Fn() -> bool) -> Vec<Proposal> {
        loop {
            let bytes_min = if is_alone() { 0 } else { limits.beside_bytes_min };
            match self.take(limits, bytes_min) {
                Taken::Some(gathered) => return gathered,
                Taken::None => self.filled.notified().await,
                // Something may come to ride with before.
                Taken::Later(at) => drop(timeout_at(at, self.filled.notified()).await),
            }
        }
    }

    /// An entry is done: what waits may be worth one now.
    pub(crate) fn look_again(&self) {
        self.filled.notify_one();
    }

    /// Somebody waits for what rides.
    pub(crate) fn hurry(&self) {
        let mut state = self.lock();
        if state.rides_until.is_some() {
            state.rides_until = Some(Instant::now());
            drop(state);
            self.filled.notify_one();
        }
    }

    fn take(&self, limits: &QueueLimits, bytes_min: usize) -> Taken {
        let mut state = self.lock();
        if state.bytes < bytes_min || state.len() == 0 {
            return Taken::None;
        }
        if let Some(at) = state.rides_until.filter(|at| state.pressing == 0 && *at > Instant::now()) {
            return Taken::Later(at);
        }
        let (mut gathered, mut cost) = (Vec::new(), Cost::default());
        while let Some(next) = state.front() {
            cost.bytes += next.cost.bytes;
            cost.operations += next.cost.operations;
            let fits = cost.bytes <= limits.entry_bytes_max && cost.operations <= limits.entry_operations_max;
            if !gathered.is_empty() && !fits {
                break;
            }
            gathered.push(state.pop_front().expect("there is a front"));
        }
        if state.pressing == state.len() {
            state.rides_until = None;
        }
        Taken::Some(gathered)
    }

    /// Lets requests in: this node leads, and has fetched its first tick.
    pub(crate) fn open(&self) {
        self.lock().open = true;
    }

    /// Lets nothing in any more, and gives back what waits.
    pub(crate) fn close(&self) -> VecDeque<Proposal> {
        let mut state = self.lock();
        state.open = false;
        (state.bytes, state.pressing, state.rides_until) = (0, 0, None);
        let (endings, again) = (std::mem::take(&mut state.endings), std::mem::take(&mut state.again));
        endings.into_iter().chain(again.into_values()).chain(std::mem::take(&mut state.waiting)).collect()
    }

    /// Whether requests are let in.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_machine::shard::{Anchor, Prepare, TxnRef, Write};
    use lentic_types::TableId;

    const LIMITS: QueueLimits = QueueLimits {
        waiting_bytes_max: 1_000,
        entry_bytes_max: 1_000,
        entry_operations_max: 100,
        beside_bytes_min: 500,
    };

    fn proposal(rides: bool) -> Proposal {
        let (cost, deadline) = (Cost { bytes: 10, operations: 1 }, Instant::now() + Duration::from_secs(1));
        let action = Action::Write(Write::default());
        Proposal { epoch: Epoch(1), key: None, action, cost, deadline, rides, reply: Reply::new(|_| ()) }
    }

    fn open_queue(rides: &[bool]) -> Queue {
        let queue = Queue::new(Traffic::new(0));
        queue.open();
        rides.iter().for_each(|rides| assert!(queue.offer(proposal(*rides), &LIMITS).is_ok()));
        queue
    }

    #[tokio::test(start_paused = true)]
    async fn what_rides_goes_with_others_or_a_little_later() {
        let began = Instant::now();
        let queue = open_queue(&[true, true]);
        assert_eq!(queue.gather(&LIMITS, || true).await.len(), 2);
        assert_eq!(began.elapsed(), RIDES_WITHIN);
        let queue = open_queue(&[true, false, true]);
        assert_eq!(queue.gather(&LIMITS, || true).await.len(), 3);
        assert_eq!(began.elapsed(), RIDES_WITHIN, "with one that presses they go at once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_rides_goes_at_once_when_somebody_waits() {
        let queue = std::sync::Arc::new(open_queue(&[true]));
        let gathers = std::sync::Arc::clone(&queue);
        let gathered = tokio::spawn(async move { gathers.gather(&LIMITS, || true).await.len() });
        tokio::task::yield_now().await;
        let began = Instant::now();
        queue.hurry();
        assert_eq!((gathered.await.unwrap(), began.elapsed()), (1, Duration::ZERO));
        assert!(queue.offer(proposal(true), &LIMITS).is_ok());
        assert_eq!(queue.close().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_blocked_goes_first_and_the_oldest_before_others() {
        let prepare = |begun: u64| {
            let id = TxnId { begun: Version(begun), ..TxnId::default() };
            let anchor = Anchor { table: TableId(1), key: "a".into() };
            let txn = TxnRef { id, anchor, until: Version::MAX };
            let action = Action::Prepare(Prepare { txn, participants: Vec::new(), parts: Vec::new(), take: None });
            Proposal { action, ..proposal(false) }
        };
        let queue = open_queue(&[false, true]);
        for begun in [7, 3] {
            assert!(queue.offer_again(prepare(begun)).is_ok());
        }
        let begun = |proposal: &Proposal| match &proposal.action {
            Action::Prepare(prepare) => prepare.txn.id.begun.0,
            _ => 0,
        };
        let gathered = queue.gather(&LIMITS, || true).await;
        assert_eq!(gathered.iter().map(begun).collect::<Vec<_>>(), [3, 7, 0, 0]);
        assert!(queue.close().is_empty());
        assert!(queue.offer_again(prepare(1)).is_err(), "nobody leads here");
    }

    #[test]
    fn a_prepare_that_nobody_waits_for_is_abandoned_and_nothing_else() {
        let txn =
            TxnRef { id: TxnId::default(), anchor: Anchor { table: TableId(1), key: "a".into() }, until: Version::MAX };
        let prepare = Action::Prepare(Prepare { txn, participants: Vec::new(), parts: Vec::new(), take: None });
        for (action, is_prepare) in [(prepare, true), (Action::Write(Write::default()), false)] {
            let (reply, told) = Reply::awaited();
            let proposal = Proposal { action, reply, ..proposal(false) };
            assert!(!proposal.is_abandoned());
            drop(told);
            assert_eq!(proposal.is_abandoned(), is_prepare);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_a_transaction_goes_before_all_and_has_always_room() {
        let limits = QueueLimits { waiting_bytes_max: 20, ..LIMITS };
        let queue = open_queue(&[false, false]);
        assert!(queue.offer(proposal(false), &limits).is_err(), "it is full");
        let txn =
            TxnRef { id: TxnId::default(), anchor: Anchor { table: TableId(1), key: "a".into() }, until: Version::MAX };
        let ending = Proposal { action: Action::Status(txn), ..proposal(false) };
        assert!(queue.offer(ending, &limits).is_ok());
        let gathered = queue.gather(&LIMITS, || true).await;
        let endings: Vec<bool> = gathered.iter().map(|proposal| proposal.action.is_ending()).collect();
        assert_eq!(endings, [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn beside_another_entry_only_much_goes() {
        let queue = open_queue(&[false]);
        let waits = tokio::time::timeout(Duration::from_secs(1), queue.gather(&LIMITS, || false));
        assert!(waits.await.is_err(), "one small request waits until none is under way");
    }
}
