//! Single keys are linearizable, read either way.

use std::sync::{Arc, Mutex, PoisonError};

use lentic_check::registers::{Event, Operation, check};
use lentic_client::{ErrorKind, Value, WriteBatch};
use lentic_runtime::spawn;

use super::world::World;

const CALLERS: u64 = 5;
/// Callers that only read the newest: a write to a leader that is cut off waits, and who waits sees nothing stale.
const READERS: u64 = 3;
const REGISTERS: usize = 3;

/// Each register's history.
type Histories = Arc<[Mutex<Vec<Event>>; REGISTERS]>;

/// Reads, writes, and compares and sets a few registers. Reads are of the newest value, or at a version fetched after
/// the call: both must see every write that was answered before.
pub async fn registers(world: World) {
    let histories: Histories = Arc::default();
    let callers = (0..CALLERS).map(|id| spawn(call(world.fork(), id + 1, Arc::clone(&histories))));
    let readers = (0..READERS).map(|_| spawn(read(world.fork(), Arc::clone(&histories))));
    let callers: Vec<_> = callers.chain(readers).collect();
    for caller in callers {
        caller.await.expect("a panic ends the run");
    }
    for (register, history) in histories.iter().enumerate() {
        let history = history.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(reason) = check(&history) {
            panic!("register {register} with {} operations is not linearizable: {reason}", history.len());
        }
    }
}

async fn call(world: World, id: u64, histories: Histories) {
    // Values are unique: who wrote it, and the how manieth it was.
    let (mut last_seen, mut written) = ([None; REGISTERS], 0);
    while !world.is_over() {
        world.pause(50).await;
        let register = world.dice.place(REGISTERS);
        let (table, key) = (world.table(), key(&world, register));
        let called = world.moment();
        let operation = match (world.dice.between(0..=7), last_seen[register]) {
            (0..=1, _) => {
                let found = world.must("a read of the newest", table.get(key)).await;
                Operation::Read(value(found))
            }
            (2..=4, _) => {
                let read = async {
                    let now = table.client().now().await?;
                    table.get_at(key, now).await
                };
                Operation::Read(value(world.must("a read at a version", read).await))
            }
            (5, Some(from)) => {
                written += 1;
                let to = id * 1_000_000 + written;
                let batch = WriteBatch::new().if_value(key.clone(), bytes(from)).put(key, bytes(to));
                let done = match world.timed("a compare and set", table.write(batch)).await {
                    Ok(_) => true,
                    Err(error) if error.kind() == ErrorKind::ConditionFailed => false,
                    Err(error) => panic!("a compare and set failed: {error}"),
                };
                Operation::CompareAndSet { from, to, done: Some(done) }
            }
            _ => {
                written += 1;
                let to = id * 1_000_000 + written;
                world.must("a write", table.put(key, bytes(to))).await;
                Operation::Write(to)
            }
        };
        match operation {
            Operation::Read(found) => last_seen[register] = found,
            Operation::Write(to) | Operation::CompareAndSet { to, done: Some(true), .. } => {
                last_seen[register] = Some(to);
            }
            Operation::CompareAndSet { .. } => {}
        }
        let event = Event { called, answered: Some(world.moment()), operation };
        histories[register].lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

async fn read(world: World, histories: Histories) {
    while !world.is_over() {
        world.pause(50).await;
        let register = world.dice.place(REGISTERS);
        let called = world.moment();
        let found = world.must("a read of the newest", world.table().get(key(&world, register))).await;
        let event = Event { called, answered: Some(world.moment()), operation: Operation::Read(value(found)) };
        histories[register].lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

fn key(world: &World, register: usize) -> Vec<u8> {
    let shard = u64::try_from(register).expect("a few");
    world.key(shard, &format!("register/{register}"))
}

fn bytes(value: u64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

fn value(found: Option<Value>) -> Option<u64> {
    found.map(|found| u64::from_be_bytes(found.value[..].try_into().expect("eight bytes were written")))
}
