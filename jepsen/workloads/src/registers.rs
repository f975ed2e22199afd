//! Single keys are linearizable, however they are read.
//!
//! ```text
//!   write 1   ├──┤
//!   write 2          ├──┤
//!   read               ├──┤ 2
//!   read                       ├──┤ 1        stale: 2 was there before it was asked for
//! ```
//!
//! Two workloads: in `registers` callers write and delete blindly, in `cas` they compare and set what they saw last, for
//! which a stale read is a step that is done twice. A register is used for so many operations, then its history is
//! judged and another takes its place.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lentic_check::registers::{Event, Operation, check};
use lentic_client::{Client, Error, ErrorKind, KeyRange, Value, WriteBatch};
use lentic_runtime::blocking;

use crate::tally::Style;
use crate::tasks::Tasks;
use crate::world::{Done, Step, World};

pub(crate) const REGISTERS: &str = "registers";
pub(crate) const CAS: &str = "cas";

/// Registers at a time.
const LANES: usize = 2;
const CALLERS: u64 = 3;
/// Callers that only read: a write to a leader that is cut off waits, and who waits sees nothing stale.
const READERS: u64 = 3;
/// Operations of a register: its history is judged in no time.
const OPERATIONS: usize = 800;

/// What callers of a register share.
#[derive(Debug)]
struct Register {
    workload: &'static str,
    lane: usize,
    key: Bytes,
    begun: AtomicUsize,
    /// The value that was written last: values are unique.
    written: AtomicU64,
    events: Mutex<Vec<Event>>,
}

/// Ways to read one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Get,
    MultiGet,
    Scan,
    /// At a version that is fetched after the call.
    GetAt,
    Snapshot,
    Transaction,
}

const WAYS: [Way; 6] = [Way::Get, Way::MultiGet, Way::Scan, Way::GetAt, Way::Snapshot, Way::Transaction];

/// Writes, deletes and reads registers.
pub(crate) async fn registers(world: World) {
    run(world, REGISTERS).await;
}

/// Compares and sets registers, and reads them.
pub(crate) async fn cas(world: World) {
    run(world, CAS).await;
}

async fn run(world: World, workload: &'static str) {
    let checked = Arc::<AtomicUsize>::default();
    let mut lanes = Tasks::default();
    for lane in 0..LANES {
        lanes.spawn(registers_of(world.fork(), workload, lane, Arc::clone(&checked)));
    }
    lanes.all().await;
    let words = format!("{} operations on registers are linearizable", checked.load(Ordering::Relaxed));
    world.tally().show(workload, words);
}

/// Uses one register after the other.
async fn registers_of(world: World, workload: &'static str, lane: usize, checked: Arc<AtomicUsize>) {
    for number in 0.. {
        if world.is_over() {
            return;
        }
        let lane = lane + number;
        let key = world.key(lane, &format!("{workload}/{lane}/{number:06}"));
        let (begun, written, events) = Default::default();
        let register = Arc::new(Register { workload, lane, key, begun, written, events });
        let mut callers = Tasks::default();
        for _ in 0..CALLERS {
            callers.spawn(call(world.fork(), Arc::clone(&register)));
        }
        for _ in 0..READERS {
            callers.spawn(look(world.fork(), Arc::clone(&register)));
        }
        callers.all().await;
        let events = std::mem::take(&mut *register.events.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(reason) = blocking(|| check(&events)) {
            let key = register.key.escape_ascii();
            panic!("{workload}: register {key} with {} operations is not linearizable: {reason}", events.len());
        }
        checked.fetch_add(events.len(), Ordering::Relaxed);
    }
}

async fn call(world: World, register: Arc<Register>) {
    let mut last_seen = None;
    while register.goes_on(&world) {
        world.pause().await;
        match world.between(0..=7) {
            0..=3 => last_seen = register.read(&world, WAYS[world.below(WAYS.len())]).await.unwrap_or(last_seen),
            4..=6 if register.workload == CAS => last_seen = register.compare_and_set(&world, last_seen).await,
            4..=6 => last_seen = register.write(&world, Some(register.next())).await,
            _ => last_seen = register.write(&world, None).await,
        }
    }
}

async fn look(world: World, register: Arc<Register>) {
    while register.goes_on(&world) {
        world.pause().await;
        let way = if world.one_in(2) { Way::Get } else { WAYS[world.below(WAYS.len())] };
        register.read(&world, way).await;
    }
}

impl Register {
    /// Takes note of an operation that begins, if there is to be one.
    fn goes_on(&self, world: &World) -> bool {
        !world.is_over() && self.begun.fetch_add(1, Ordering::Relaxed) < OPERATIONS
    }

    fn next(&self) -> u64 {
        self.written.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn step(&self, style: Style, f: &'static str) -> Step {
        let step = Step::new(self.workload, style, f, self.key.escape_ascii().to_string());
        if style == Style::ReadOnly { step } else { step.in_shards(vec![self.lane]) }
    }

    fn note(&self, called: u64, answered: Option<u64>, operation: Operation) {
        let event = Event { called, answered, operation };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Reads, and returns what was read if it was.
    async fn read(&self, world: &World, way: Way) -> Option<Option<u64>> {
        let called = world.moment();
        let work = async { Ok(number(read(world, &self.key, way).await?)) };
        let step = self.step(Style::ReadOnly, "read");
        let found = world.run(step, work, |found| (*found).into()).await.ok()?;
        self.note(called, Some(world.moment()), Operation::Read(found));
        Some(found)
    }

    /// Writes, or deletes, and returns what is there then as far as is known.
    async fn write(&self, world: &World, value: Option<u64>) -> Option<u64> {
        let called = world.moment();
        let step = self.step(Style::OneShot, "write").value(value);
        let table = world.table();
        let work = async {
            match value {
                Some(value) => table.put(self.key.clone(), bytes(value)).await,
                None => table.delete(self.key.clone()).await,
            }
        };
        match world.write(step, work).await {
            Done::Ok(_) => self.note(called, Some(world.moment()), Operation::Write(value)),
            Done::Unknown => self.note(called, None, Operation::Write(value)),
            Done::Refused(_) => {}
        }
        value
    }

    /// Sets a new value if the old one is there, and returns what is there then as far as is known.
    async fn compare_and_set(&self, world: &World, from: Option<u64>) -> Option<u64> {
        let (called, to, key) = (world.moment(), self.next(), self.key.clone());
        let batch = match from {
            Some(from) => WriteBatch::new().if_value(key.clone(), bytes(from)),
            None => WriteBatch::new().if_absent(key.clone()),
        };
        let batch = batch.put(key, bytes(to));
        let step = self.step(Style::Conditional, "cas").value(serde_json::json!([from, to]));
        let (done, answered) = match world.write(step, world.table().write(batch)).await {
            Done::Ok(_) => (Some(true), Some(world.moment())),
            Done::Refused(error) if error.kind() == ErrorKind::ConditionFailed => (Some(false), Some(world.moment())),
            Done::Refused(_) => return from,
            Done::Unknown => (None, None),
        };
        self.note(called, answered, Operation::CompareAndSet { from, to, done });
        if done == Some(true) { Some(to) } else { from }
    }
}

async fn read(world: &World, key: &Bytes, way: Way) -> Result<Option<Bytes>, Error> {
    let (table, value) = (world.table(), |found: Option<Value>| found.map(|found| found.value));
    let client: &Client = table.client();
    let only = || KeyRange::new(key.clone(), Some([&key[..], b"\0"].concat())).expect("a key and the next one");
    match way {
        Way::Get => table.get(key.clone()).await.map(value),
        Way::MultiGet => {
            let beside = world.key(world.below(world.shards()), "registers/beside");
            let found = table.multi_get([beside, key.clone()]).await?;
            Ok(found.into_iter().next_back().and_then(value))
        }
        Way::Scan => Ok(table.scan(only()).start().next().await.transpose()?.map(|row| row.value)),
        Way::GetAt => {
            let now = client.now().await?;
            table.get_at(key.clone(), now).await.map(value)
        }
        Way::Snapshot => world.snapshot().await?.table(world.table_name()).get(key.clone()).await.map(value),
        Way::Transaction => {
            let txn = client.begin();
            let found = txn.table(world.table_name()).get(key.clone()).await?;
            txn.commit().await?;
            Ok(value(found))
        }
    }
}

fn bytes(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn number(found: Option<Bytes>) -> Option<u64> {
    found.map(|found| u64::from_be_bytes(found[..].try_into().expect("eight bytes were written")))
}
