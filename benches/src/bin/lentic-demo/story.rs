//! The story: count, kill, come back, look back, roll back, fence out.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_machine::shard::{Acquire, Action, Operation, Rollback, Token, Write};
use lentic_machine::{Outcome, Refusal};
use lentic_types::{KeyRange, Version};

use crate::node::Node;
use crate::writer::{EVENTS_PER_ENTRY, carrier};

const WRITING: Duration = Duration::from_secs(3);

pub(crate) fn tell() -> ExitCode {
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    println!("Lentic: one durable shard in {}\n", directory.path().display());
    let promised = write_and_kill(directory.path());
    let mut node = come_back(directory.path(), promised);
    look_back(&node);
    roll_back(&mut node);
    drop(node);
    println!("\nEvery promise held.");
    ExitCode::SUCCESS
}

/// Has a child count events for a while, and kills it. Returns the events that it was promised.
fn write_and_kill(directory: &Path) -> u64 {
    println!(
        "1. A job counts events on 16 carriers, {EVENTS_PER_ENTRY} an entry, each entry fsynced before it counts."
    );
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program).arg("writer").arg(directory).stdout(Stdio::piped()).spawn().expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (start, mut promised, mut is_killed) = (Instant::now(), 0, false);
    for line in lines {
        // A line cut off by the kill was no promise.
        let Ok(events) = line.expect("the pipe is read").parse::<u64>() else { break };
        promised = promised.max(events);
        if !is_killed && start.elapsed() > WRITING {
            child.kill().expect("the child runs");
            is_killed = true;
        }
    }
    child.wait().expect("the child was started");
    println!("   {promised} events acknowledged in {:.1} s. Then: kill -9.\n", start.elapsed().as_secs_f64());
    promised
}

fn come_back(directory: &Path, promised: u64) -> Node {
    let start = Instant::now();
    let (node, replayed) = Node::open(directory);
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    let (keys, total) = node.total(Version::MAX);
    let events = node.applied().0 * EVENTS_PER_ENTRY;
    println!("2. It comes back in {elapsed:.0} ms, with {replayed} entries applied again from the log.");
    println!("   {keys} counters, in sum {total}; promised: {promised}; entries in the log: {}.", node.applied().0);
    assert_eq!(total.unsigned_abs(), events, "each logged event is counted exactly once");
    assert!(events >= promised, "nothing acknowledged is lost");
    assert!(events <= promised + EVENTS_PER_ENTRY, "at most the one entry in flight was not acknowledged");
    println!("   Nothing acknowledged is lost, nothing is counted twice.\n");
    node
}

fn look_back(node: &Node) {
    println!("3. Every version is still there: the same scan, at other versions.");
    let newest = node.newest().ms();
    for part in [4, 3, 2, 1] {
        let at = Version::tick(newest / part, 0).expect("a short demo");
        let (keys, total) = node.total(at);
        println!("   at {:>12}   {keys} counters, in sum {total}", at.to_string());
        assert_eq!(total.unsigned_abs(), newest / part * EVENTS_PER_ENTRY, "a version is a point between two entries");
    }
    println!();
}

fn roll_back(node: &mut Node) {
    let owner = Bytes::from_static(b"flights-job");
    let stamp = |node: &Node| Version::tick(node.newest().ms() + 1, 0).expect("a short demo");
    let acquired =
        node.act(stamp(node), Action::Acquire(Acquire { range: KeyRange::all(), owner: owner.clone(), force: false }));
    let Outcome::Acquired { token: old } = acquired else { panic!("{acquired:?}") };
    let checkpoint = node.newest();
    let (_, before) = node.total(checkpoint);
    println!(
        "4. The job owns its range (token {old}) and names {checkpoint} as its checkpoint. It goes on: 5 more events."
    );
    for _ in 0..5 {
        let outcome = add(node, stamp(node), old);
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }
    println!("   in sum {}", node.total(Version::MAX).1);

    let start = Instant::now();
    let rolled = node
        .act(stamp(node), Action::Rollback(Rollback { range: KeyRange::all(), to: checkpoint, owner, force: false }));
    let micros = start.elapsed().as_micros();
    let Outcome::RolledBack { token: new } = rolled else { panic!("{rolled:?}") };
    println!("   The job fails, and a new attempt restores the checkpoint: {micros} us, no data moved, token {new}.");
    println!("   in sum {} (before: {before})", node.total(Version::MAX).1);
    assert_eq!(node.total(Version::MAX).1, before, "a rollback shows the old version");

    let zombie = add(node, stamp(node), old);
    let Outcome::Refused(refusal @ Refusal::Fenced { newest: Some(_) }) = zombie else { panic!("{zombie:?}") };
    println!("   The old attempt was only asleep, and writes. Refused: {refusal}.");
    let outcome = add(node, stamp(node), new);
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    let count = node.counter(&carrier(0), Version::MAX).expect("it was counted");
    println!("   The new attempt writes: {} is {count} now.", carrier(0));
    let syncs = node.log_stats();
    println!("   (log: {} entries in {} fdatasyncs since it came back)", syncs.entries, syncs.gathers);
}

fn add(node: &mut Node, version: Version, token: Token) -> Outcome {
    let operation = Operation::Merge {
        key: carrier(0).into(),
        operator: MergeOperator::AddI64,
        operand: Bytes::copy_from_slice(&1i64.to_be_bytes()),
        expiry: None,
    };
    node.act(version, Action::Write(Write { fence: Some(token), operations: vec![operation], ..Write::default() }))
}
