//! The log against a model: random changes, faults, crashes and openings, over a disk that loses what it may.
//!
//! The model is the list of everything submitted, one element an entry. At any time the log must read as the whole list
//! applied to nothing; after a crash as some prefix of it that holds everything acknowledged. A failure prints the
//! actions, shrunk; they replay as they are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lentic_log::{Completion, Log, LogOptions, SimFs, SimOp, Writer};
use lentic_types::{ClusterId, GroupId, Index};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const CLUSTER: ClusterId = ClusterId([5; 16]);

#[derive(Clone, Debug)]
enum Action {
    Append {
        group: u64,
        count: usize,
        bytes: usize,
    },
    Save {
        group: u64,
        bytes: usize,
    },
    Truncate {
        group: u64,
        back: u64,
    },
    Purge {
        group: u64,
        ahead: u64,
    },
    Remove {
        group: u64,
    },
    Step,
    Run,
    Read {
        group: u64,
        bytes_max: usize,
    },
    /// The operation of this kind after some more fails, and soon after the power goes, or only the process ends.
    Fail {
        op: SimOp,
        after: u64,
        power: Option<u64>,
    },
    /// As above, but it fails while the log is being opened.
    FailOpening {
        op: SimOp,
        after: u64,
        power: Option<u64>,
    },
    Crash {
        seed: u64,
    },
    /// The process, not the machine, ends before the operation of this kind after some more.
    Kill {
        op: SimOp,
        after: u64,
    },
    Close,
}

fn action() -> impl Strategy<Value = Action> {
    let group = || 1u64..4;
    let op = || prop_oneof![Just(SimOp::Write), Just(SimOp::Sync), Just(SimOp::Allocate), Just(SimOp::Directory)];
    let bytes = || prop_oneof![8 => 0usize..200, 4 => 200usize..3_000, 1 => 3_000usize..30_000];
    prop_oneof![
        12 => (group(), 0usize..6, bytes()).prop_map(|(group, count, bytes)| Action::Append { group, count, bytes }),
        3 => (group(), 0usize..40).prop_map(|(group, bytes)| Action::Save { group, bytes }),
        2 => (group(), 0u64..6).prop_map(|(group, back)| Action::Truncate { group, back }),
        4 => (group(), 0u64..12).prop_map(|(group, ahead)| Action::Purge { group, ahead }),
        1 => group().prop_map(|group| Action::Remove { group }),
        8 => Just(Action::Step),
        4 => Just(Action::Run),
        4 => (group(), 0usize..5_000).prop_map(|(group, bytes_max)| Action::Read { group, bytes_max }),
        2 => (op(), 0u64..6, any::<Option<u64>>()).prop_map(|(op, after, power)| Action::Fail { op, after, power }),
        2 => (op(), 0u64..4, any::<Option<u64>>()).prop_map(|(op, after, power)| Action::FailOpening { op, after, power }),
        2 => any::<u64>().prop_map(|seed| Action::Crash { seed }),
        2 => (op(), 0u64..4).prop_map(|(op, after)| Action::Kill { op, after }),
        1 => Just(Action::Close),
    ]
}

/// One element of the order.
#[derive(Clone, Debug)]
enum Event {
    Entry(u64, u64, Bytes),
    Save(u64, Bytes),
    Truncate(u64, u64),
    Purge(u64, u64, Bytes),
    Remove(u64),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ModelGroup {
    entries: BTreeMap<u64, Bytes>,
    saved: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
}

type Model = BTreeMap<u64, ModelGroup>;

fn apply(model: &mut Model, event: &Event) {
    match event {
        Event::Entry(group, index, data) => {
            model.entry(*group).or_default().entries.insert(*index, data.clone());
        }
        Event::Save(group, data) => model.entry(*group).or_default().saved = Some(data.clone()),
        Event::Truncate(group, from) => {
            model.entry(*group).or_default().entries.split_off(from);
        }
        Event::Purge(group, through, marker) => {
            let group = model.entry(*group).or_default();
            group.entries = group.entries.split_off(&(through + 1));
            group.purged = Some((*through, marker.clone()));
        }
        Event::Remove(group) => {
            model.remove(group);
        }
    }
    model.retain(|_, group| *group != ModelGroup::default());
}

struct Run {
    fs: SimFs,
    options: LogOptions,
    log: Log,
    /// Always there but while it is being closed.
    writer: Option<Writer>,
    /// What the log held when it was last opened.
    base: Model,
    /// What has been submitted since.
    events: Vec<Event>,
    /// How many events each acknowledged completion covers, in the order of the calls.
    acknowledged: Arc<Mutex<Vec<usize>>>,
    payload: u64,
}

fn open(fs: &SimFs, options: LogOptions) -> Result<(Log, Writer), lentic_log::OpenError> {
    Log::open(Arc::new(fs.clone()), CLUSTER, options, Box::new(|_| ()))
}

/// Ends a life: the power goes, and what this seed says is kept, or only the process ends.
fn end(fs: &SimFs, power: Option<u64>) -> SimFs {
    match power {
        Some(seed) => fs.crash(seed),
        None => fs.kill(),
    }
}

/// Everything the log shows, through its public face.
fn contents(log: &Log) -> Model {
    let mut model = Model::new();
    for id in log.groups().unwrap() {
        let state = log.state(id).unwrap().expect("a listed group exists");
        let mut group = ModelGroup { saved: state.saved, ..ModelGroup::default() };
        group.purged = state.purged.map(|purged| (purged.through.0, purged.marker));
        if let Some((first, last)) = state.range {
            let entries = log.read(id, first..last.next(), usize::MAX).unwrap();
            group.entries = (first.0..).zip(entries).collect();
            assert_eq!(group.entries.len() as u64, last.0 - first.0 + 1);
        }
        model.insert(id.0, group);
    }
    model.retain(|_, group| *group != ModelGroup::default());
    model
}

impl Run {
    fn new(options: LogOptions) -> Self {
        let fs = SimFs::new();
        let (log, writer) = open(&fs, options).unwrap();
        let acknowledged = Arc::default();
        Self {
            fs,
            options,
            log,
            writer: Some(writer),
            base: Model::new(),
            events: Vec::new(),
            acknowledged,
            payload: 0,
        }
    }

    fn model(&self) -> Model {
        let mut model = self.base.clone();
        self.events.iter().for_each(|event| apply(&mut model, event));
        model
    }

    fn done(&self) -> Completion {
        let (acknowledged, covers) = (Arc::clone(&self.acknowledged), self.events.len());
        Box::new(move |result| {
            if result.is_ok() {
                acknowledged.lock().unwrap().push(covers);
            }
        })
    }

    fn data(&mut self, bytes: usize) -> Bytes {
        self.payload += 1;
        self.payload.to_be_bytes().into_iter().cycle().take(bytes).collect()
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Append { group, count, bytes } => {
                let next = self.model().get(&group).map_or(1, |group| {
                    let after_purge = group.purged.as_ref().map_or(1, |(through, _)| through + 1);
                    group.entries.last_key_value().map_or(after_purge, |(last, _)| last + 1)
                });
                let entries: Vec<Bytes> = (0..count).map(|_| self.data(bytes)).collect();
                self.events
                    .extend((next..).zip(&entries).map(|(index, data)| Event::Entry(group, index, data.clone())));
                self.log.append(GroupId(group), Index(next), entries, self.done()).unwrap();
            }
            Action::Save { group, bytes } => {
                let data = self.data(bytes);
                self.events.push(Event::Save(group, data.clone()));
                self.log.save_state(GroupId(group), data, self.done()).unwrap();
            }
            Action::Truncate { group, back } => {
                let model = self.model();
                let Some((last, _)) = model.get(&group).and_then(|group| group.entries.last_key_value()) else {
                    return;
                };
                let first = *model[&group].entries.first_key_value().unwrap().0;
                let from = (last + 1).saturating_sub(back).max(first);
                self.events.push(Event::Truncate(group, from));
                self.log.truncate(GroupId(group), Index(from), self.done()).unwrap();
            }
            Action::Purge { group, ahead } => {
                let model = self.model();
                let purged = model.get(&group).and_then(|group| group.purged.as_ref()).map(|purged| purged.0);
                let first = model.get(&group).and_then(|group| group.entries.keys().next()).map_or(1, |first| *first);
                let (through, marker) = (purged.unwrap_or(0).max(first - 1) + ahead, self.data(9));
                if purged.is_none_or(|purged| through > purged) {
                    self.events.push(Event::Purge(group, through, marker.clone()));
                }
                self.log.purge(GroupId(group), Index(through), marker, self.done()).unwrap();
            }
            Action::Remove { group } => {
                self.events.push(Event::Remove(group));
                self.log.remove_group(GroupId(group), self.done()).unwrap();
            }
            Action::Step => {
                self.step();
            }
            Action::Run => while self.step() {},
            Action::Read { group, bytes_max } => self.read(group, bytes_max),
            Action::Fail { op, after, power } => {
                self.fs.fail(op, after, ErrorKind::Other);
                while self.step() {}
                self.reopen(end(&self.fs, power));
            }
            Action::FailOpening { op, after, power } => {
                let fs = self.fs.kill();
                fs.fail(op, after, ErrorKind::Other);
                // It may fail or, if it needs fewer operations, succeed: either way this life ends.
                let _ = open(&fs, self.options);
                self.reopen(end(&fs, power));
            }
            Action::Crash { seed } => self.reopen(self.fs.crash(seed)),
            Action::Kill { op, after } => self.kill(op, after),
            Action::Close => {
                self.writer.take().expect("a run has a writer").close().unwrap();
                self.reopen(self.fs.clone());
            }
        }
    }

    fn step(&mut self) -> bool {
        self.writer.as_mut().expect("a run has a writer").step()
    }

    fn kill(&mut self, op: SimOp, after: u64) {
        let (left, fs) = (AtomicU64::new(after), self.fs.clone());
        self.fs.set_hook(move |found, _| {
            if found == op && left.fetch_sub(1, Ordering::Relaxed) == 0 {
                let _ = fs.kill();
            }
        });
        while self.step() {}
        self.fs.set_hook(|_, _| ());
        self.reopen(self.fs.kill());
    }

    fn read(&self, group: u64, bytes_max: usize) {
        let model = self.model();
        let Some((first, _)) = model.get(&group).and_then(|group| group.entries.first_key_value()) else { return };
        let found = self.log.read(GroupId(group), Index(*first)..Index(u64::MAX), bytes_max).unwrap();
        let entries = model[&group].entries.values();
        let mut bytes = 0;
        let expected: Vec<Bytes> = entries
            .enumerate()
            .take_while(|(position, data)| {
                bytes += data.len();
                *position == 0 || bytes <= bytes_max
            })
            .map(|(_, data)| data.clone())
            .collect();
        assert_eq!(found, expected);
    }

    /// Opens the next life and finds the prefix that it holds.
    fn reopen(&mut self, fs: SimFs) {
        fs.heal();
        let (log, writer) = open(&fs, self.options).unwrap();
        let found = contents(&log);
        let acknowledged = self.acknowledged.lock().unwrap().last().copied().unwrap_or(0);
        let mut model = self.base.clone();
        let mut prefixes = 0;
        for (position, event) in self.events.iter().enumerate() {
            prefixes += usize::from(position >= acknowledged && model == found);
            apply(&mut model, event);
        }
        prefixes += usize::from(model == found);
        assert!(prefixes > 0, "the log holds {found:#?}\nwhich is no prefix of at least {acknowledged} events");
        (self.fs, self.log, self.writer) = (fs, log, Some(writer));
        (self.base, self.events) = (found, Vec::new());
        *self.acknowledged.lock().unwrap() = Vec::new();
    }

    fn check(&self) {
        let acknowledged = self.acknowledged.lock().unwrap();
        assert!(acknowledged.is_sorted(), "completions come in the order of submission");
        assert_eq!(contents(&self.log), self.model(), "the log shows what was submitted");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_prefix_of_what_was_submitted(
        actions in prop::collection::vec(action(), 1..120),
        segment_blocks in 4u32..9,
        gather_bytes_max in 1usize..9_000,
        cache_bytes_max in prop_oneof![Just(0usize), 0usize..20_000],
    ) {
        let options = LogOptions {
            segment_bytes: segment_blocks * 4096,
            bytes_max: 1 << 20,
            queue_bytes_max: 64 << 20,
            gather_bytes_max,
            cache_bytes_max,
        };
        let mut run = Run::new(options);
        for action in &actions {
            run.act(action);
            run.check();
        }
        run.act(&Action::Run);
        run.check();
        let submitted = run.model();
        run.act(&Action::Crash { seed: 0 });
        prop_assert_eq!(run.model(), submitted, "everything acknowledged is there");
    }
}
