//! A register: written and read through clients, and read from one node that may not know better.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lentic_check::registers::{Event, Operation, check};
use lentic_client::{Client, ShardDescription, Table, Version};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, GetRequest, MultiGetRequest, Route, ScanRequest};
use lentic_runtime::spawn;
use lentic_workloads::{Call, Recorder, Recording};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::pipe::RawPipe;

/// Callers that write, each unique values.
const WRITERS: u64 = 2;
/// Callers that read.
const READERS: u64 = 2;
/// The pause between two operations of a caller.
const PAUSE: Duration = Duration::from_millis(15);
/// Reads of each kind that are sent to the node at once.
const READS: usize = 3;
/// How long an answer of the node may take at the end.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// A register, its history, and its callers.
pub(super) struct Register {
    shared: Arc<Shared>,
    route: Route,
    callers: Vec<JoinHandle<()>>,
    reads: Vec<JoinHandle<Told>>,
}

struct Shared {
    client: Client,
    table: Table,
    key: Bytes,
    recorder: Recorder,
    order: AtomicU64,
    /// Writes that were acknowledged.
    written: AtomicU64,
    events: Mutex<Vec<Event>>,
    over: AtomicBool,
}

/// What came of a read of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Value,
    Refused,
    Nothing,
}

impl Register {
    /// A register in `shard`, which is written and read from now on.
    pub(super) fn start(
        client: &Client,
        table: &str,
        shard: &ShardDescription,
        number: usize,
        recorder: &Recorder,
    ) -> Self {
        let key = Bytes::from([&shard.range.start()[..], format!("/register/{number}").as_bytes()].concat());
        let shared = Arc::new(Shared {
            client: client.clone(),
            table: client.table(table),
            key,
            recorder: recorder.clone(),
            order: AtomicU64::new(0),
            written: AtomicU64::new(0),
            events: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let writers = (1..=WRITERS).map(|id| spawn(Arc::clone(&shared).write(id)));
        let mut callers: Vec<_> = writers.collect();
        callers.extend((0..READERS).map(|_| spawn(Arc::clone(&shared).read())));
        let route = Route { shard: shard.shard.0, epoch: shard.epoch.0 };
        Self { shared, route, callers, reads: Vec::new() }
    }

    /// Waits until a write that began after this call is acknowledged.
    ///
    /// # Panics
    /// If none is `within`.
    pub(super) async fn until_written(&self, within: Duration) {
        // Those that are open now may have been acknowledged before, as far as anybody knows.
        let enough = self.shared.written.load(Ordering::Relaxed) + WRITERS + 1;
        let deadline = Instant::now() + within;
        while self.shared.written.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "the register is not written to for {within:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends reads of every kind to one node, whose answers come when they come.
    pub(super) async fn read_by(&mut self, pipe: &RawPipe) {
        let (key, route) = (self.shared.key.clone(), Some(self.route));
        for _ in 0..READS {
            let get = GetRequest { route, key: key.clone(), ..GetRequest::default() };
            let many = MultiGetRequest { route, keys: vec![key.clone()], ..MultiGetRequest::default() };
            let end = Some(Bytes::from([&key[..], b"\0"].concat()));
            let scan = ScanRequest { route, start: key.clone(), end, ..ScanRequest::default() };
            for request in [Request::Get(get.clone()), Request::MultiGet(many), Request::Scan(scan)] {
                let read = self.shared.begin("read", Value::Null);
                self.send(pipe, read, request).await;
            }
            // At a version that was fetched after the read began.
            let read = self.shared.begin("read", Value::Null);
            let at: Version = self.shared.client.now().await.expect("the others serve");
            self.send(pipe, read, Request::Get(GetRequest { at: Some(at.0), ..get })).await;
        }
    }

    async fn send(&mut self, pipe: &RawPipe, (called, recording): (u64, Recording), request: Request) {
        let (shared, answer) = (Arc::clone(&self.shared), pipe.ask(request).await);
        self.reads.push(spawn(async move {
            let Ok(response) = answer.await else {
                recording.info("the pipe was lost");
                return Told::Nothing;
            };
            match value_in(response) {
                Ok(found) => {
                    shared.end(called, Operation::Read(found), recording);
                    Told::Value
                }
                Err(reason) => {
                    recording.fail(&reason);
                    Told::Refused
                }
            }
        }));
    }

    /// Ends the callers, waits for all answers, and checks the history. Returns how many reads of the node were answered
    /// and how many refused.
    ///
    /// # Panics
    /// If no order of the operations explains the answers, or if no read of the node was answered at all.
    pub(super) async fn end(self) -> (usize, usize) {
        let (mut told, mut refused, sent) = (0, 0, self.reads.len());
        for read in self.reads {
            let answer = timeout(ANSWERS_WITHIN, read).await;
            match answer.expect("a node that goes on answers").expect("a read does not panic") {
                Told::Value => told += 1,
                Told::Refused => refused += 1,
                Told::Nothing => {}
            }
        }
        assert!(told + refused > sent / 2, "of {sent} reads of one node {told} were answered and {refused} refused");
        // A few more, so that what was read last is seen in its place.
        sleep(10 * PAUSE).await;
        self.shared.over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            timeout(ANSWERS_WITHIN, caller).await.expect("a caller ends").expect("a caller does not panic");
        }
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(reason) = check(&events) {
            panic!("a register with {} operations is not linearizable: {reason}", events.len());
        }
        (told, refused)
    }
}

impl Shared {
    fn begin(&self, f: &'static str, value: Value) -> (u64, Recording) {
        let recording = self.recorder.invoke(Call { f, key: self.key.escape_ascii().to_string(), value });
        (self.order.fetch_add(1, Ordering::SeqCst), recording)
    }

    fn end(&self, called: u64, operation: Operation, recording: Recording) {
        let answered = Some(self.order.fetch_add(1, Ordering::SeqCst));
        recording.ok(match operation {
            Operation::Read(found) => found.into(),
            Operation::Write(_) | Operation::CompareAndSet { .. } => Value::Null,
        });
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(Event { called, answered, operation });
    }

    async fn write(self: Arc<Self>, id: u64) {
        for number in 1.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let value = id * 1_000_000 + number;
            let (called, recording) = self.begin("write", value.into());
            let written = self.table.put(self.key.clone(), value.to_be_bytes().to_vec()).await;
            written.expect("a write that can be sent again does not fail");
            self.end(called, Operation::Write(Some(value)), recording);
            self.written.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }

    async fn read(self: Arc<Self>) {
        while !self.over.load(Ordering::Relaxed) {
            let (called, recording) = self.begin("read", Value::Null);
            let found = self.table.get(self.key.clone()).await.expect("a read that can be sent again does not fail");
            self.end(called, Operation::Read(found.map(|found| number_in(&found.value))), recording);
            sleep(PAUSE).await;
        }
    }
}

/// What a response says of the register, or why it says nothing.
fn value_in(response: Response) -> Result<Option<u64>, String> {
    let number = |value: v1::Value| number_in(&value.value);
    match response {
        Response::Get(got) => Ok(got.value.map(number)),
        Response::MultiGet(got) => Ok(got.values.into_iter().next().and_then(|got| got.value).map(number)),
        Response::Scan(page) => Ok(page.rows.into_iter().next().and_then(|row| row.value).map(number)),
        Response::Failure(failure) => Err(failure.message),
        _ => panic!("a read was answered by something else"),
    }
}

fn number_in(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().expect("eight bytes were written"))
}
