//! An open connection to a node: requests go out as they come, answers come back as they are done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_net::{Class, LinkReceiver, LinkSender};
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{Hello, PipeRequest, PipeResponse, pipe_request};
use prost::Message as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::error::Error;
use lentic_types::ErrorKind;

/// What an open request costs beside its bytes, so that the budget of bytes bounds their number too.
const REQUEST_BYTES_MIN: usize = 512;
/// Messages above this are encoded and decoded off the path of others.
const LARGE_BYTES: usize = 1 << 20;
/// Most answers taken from the link at a time.
const GATHER_MAX: usize = 256;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Line {
    /// Who is at the other end, for messages.
    name: Arc<str>,
    sender: LinkSender,
    request_bytes_max: usize,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    open: Mutex<Open>,
    /// Wakes the reader to end the line.
    broken: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// Why the line ended, once it has.
    ended: Option<Arc<str>>,
    last_id: u64,
    requests: BTreeMap<u64, Request>,
    /// Bytes of requests that nobody waits for any more.
    abandoned_bytes: usize,
}

#[derive(Debug)]
struct Request {
    /// `None`: nobody waits any more. Its bytes count until the node is done with it.
    answer: Option<oneshot::Sender<Response>>,
    permit: OwnedSemaphorePermit,
}

/// Why a request was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The line has ended: dial again.
    Ended(Error),
    /// No node takes it: change it.
    Refused(Error),
}

/// The answer will not come: the request may have had its effect or not.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) Error);

/// A request that was sent. Dropped before its answer, it is given up; the node may still do it.
#[derive(Debug)]
pub(crate) struct Waiting {
    line: Arc<Line>,
    id: u64,
    is_sent: bool,
    answer: oneshot::Receiver<Response>,
}

impl Line {
    /// A line on a link whose hellos are exchanged.
    pub(crate) fn new(name: Arc<str>, sender: LinkSender, hello: &Hello, budget_bytes: usize) -> Self {
        // A larger frame would break the link for all.
        let frame_bytes_max = Class::Pipe.frame_bytes_max();
        Self {
            name,
            sender,
            request_bytes_max: match usize::try_from(hello.request_bytes_max) {
                Ok(0) | Err(_) => frame_bytes_max,
                Ok(bytes) => bytes.min(frame_bytes_max),
            },
            budget: Arc::new(Semaphore::new(budget_bytes)),
            budget_bytes,
            open: Mutex::default(),
            broken: Notify::new(),
        }
    }

    /// Sends a request, once there is room for it. Its id and deadline are set here.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: &mut PipeRequest,
        deadline: Instant,
    ) -> Result<Waiting, Unsent> {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        request.deadline_ms = u32::try_from(left).unwrap_or(u32::MAX).max(1);
        request.id = u64::MAX;
        let bytes = request.encoded_len();
        if bytes > self.request_bytes_max {
            return Err(Unsent::Refused(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the request has {bytes} bytes and {} takes at most {}; split it",
                    self.name, self.request_bytes_max
                ),
            )));
        }
        let cost =
            u32::try_from(bytes.max(REQUEST_BYTES_MIN).min(self.budget_bytes)).expect("a budget is at most 1 GiB");
        let Ok(permit) = self.budget.clone().acquire_many_owned(cost).await else { return Err(self.unsent()) };
        let mut waiting = self.register(permit)?;
        request.id = waiting.id;
        let frame = if bytes > LARGE_BYTES { lentic_runtime::blocking(|| encode(request)) } else { encode(request) };
        self.sender.send(frame).await.map_err(|_| self.unsent())?;
        waiting.is_sent = true;
        Ok(waiting)
    }

    fn register(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Waiting, Unsent> {
        let (sender, answer) = oneshot::channel();
        let mut open = self.open();
        if open.ended.is_some() {
            drop(open);
            return Err(self.unsent());
        }
        open.last_id += 1;
        let id = open.last_id;
        open.requests.insert(id, Request { answer: Some(sender), permit });
        Ok(Waiting { line: self.clone(), id, is_sent: false, answer })
    }

    fn unsent(&self) -> Unsent {
        Unsent::Ended(Error::unavailable(self.why_ended()))
    }

    fn why_ended(&self) -> String {
        let reason = self.open().ended.clone();
        format!("the connection to {} was lost: {}", self.name, reason.as_deref().unwrap_or("closed by the other end"))
    }

    /// Nobody waits for the request any more.
    fn abandon(&self, id: u64, is_sent: bool) {
        let mut open = self.open();
        let Some(request) = open.requests.get_mut(&id) else { return };
        if !is_sent {
            open.requests.remove(&id);
            return;
        }
        request.answer = None;
        let bytes = request.permit.num_permits();
        open.abandoned_bytes += bytes;
        if open.abandoned_bytes > self.budget_bytes / 2 {
            self.broken.notify_one();
        }
    }

    /// Reads answers until the line ends; says why it did and whether it was of use. All that is open is lost then.
    pub(crate) async fn read(&self, mut receiver: LinkReceiver, silence_max: Duration) -> Ended {
        let mut watch = Watch { heard: Instant::now(), asked: None, half: silence_max / 2 };
        let (mut frames, mut was_of_use) = (Vec::new(), false);
        let reason = loop {
            tokio::select! {
                biased;
                () = self.broken.notified() => break "half of its requests were given up unanswered".to_owned(),
                count = receiver.recv_many(&mut frames, GATHER_MAX) => {
                    if count == 0 {
                        break "closed by the other end".to_owned();
                    }
                    watch.heard = Instant::now();
                    watch.asked = None;
                    if let Err(reason) = self.answer(&mut frames) {
                        break reason;
                    }
                    was_of_use = true;
                }
                () = tokio::time::sleep_until(watch.next()) => {
                    if let Some(reason) = self.check(&mut watch).await {
                        break reason;
                    }
                }
            }
        };
        self.end(&reason);
        Ended { reason, was_of_use }
    }

    /// Hands answers to who waits for them.
    fn answer(&self, frames: &mut Vec<Bytes>) -> Result<(), String> {
        for frame in frames.drain(..) {
            let is_large = frame.len() > LARGE_BYTES;
            let decode = || PipeResponse::decode(frame);
            let decoded = if is_large { lentic_runtime::blocking(decode) } else { decode() };
            let PipeResponse { id, response } =
                decoded.map_err(|error| format!("it sent what is no answer: {error}"))?;
            let response = response.ok_or("it sent an answer of a kind that is not known here")?;
            let mut open = self.open();
            let request = open.requests.remove(&id).ok_or("it answered a request that was not open")?;
            match request.answer {
                Some(answer) => drop(answer.send(response)),
                None => open.abandoned_bytes -= request.permit.num_permits(),
            }
        }
        Ok(())
    }

    /// Asks a silent node whether it is there; says so if it has not answered that for long.
    async fn check(&self, watch: &mut Watch) -> Option<String> {
        if self.open().requests.is_empty() {
            watch.heard = Instant::now();
            watch.asked = None;
            return None;
        }
        if watch.asked.is_some() {
            return Some(format!("it was silent for {} ms", (2 * watch.half).as_millis()));
        }
        watch.asked = Some(Instant::now());
        let permit = self.budget.clone().try_acquire_many_owned(0).ok()?;
        let id = {
            let mut open = self.open();
            open.last_id += 1;
            let id = open.last_id;
            open.requests.insert(id, Request { answer: None, permit });
            id
        };
        // A node answers it by itself and at once, if only with a failure: any answer is a sign of life.
        let hello = pipe_request::Request::Hello(Hello::default());
        let frame = encode(&PipeRequest { id, deadline_ms: 0, request: Some(hello) });
        // A link without room is no reason to wait here: the line ends at the next check if nothing comes.
        if tokio::time::timeout(Duration::ZERO, self.sender.send(frame)).await.is_err() {
            self.open().requests.remove(&id);
        }
        None
    }

    fn end(&self, reason: &str) {
        let mut open = self.open();
        open.ended = Some(reason.into());
        let requests = std::mem::take(&mut open.requests);
        drop(open);
        self.budget.close();
        drop(requests);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a line ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) reason: String,
    /// Whether anything was answered on it.
    pub(crate) was_of_use: bool,
}

/// Since when a node is silent.
struct Watch {
    heard: Instant,
    asked: Option<Instant>,
    half: Duration,
}

impl Watch {
    fn next(&self) -> Instant {
        self.asked.unwrap_or(self.heard) + self.half
    }
}

impl Waiting {
    /// The answer. May be called again after it was given up half way.
    pub(crate) async fn answer(&mut self) -> Result<Response, Lost> {
        (&mut self.answer).await.map_err(|_| Lost(Error::unknown(self.line.why_ended())))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.answer.is_terminated() {
            self.line.abandon(self.id, self.is_sent);
        }
    }
}

fn encode(request: &PipeRequest) -> Bytes {
    request.encode_to_vec().into()
}
