//! Each fault on a real process: that it takes effect, on what it is meant for alone, and ends.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::num::NonZeroU32;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::subject::{Answer, Scratch, Subject};
use super::{Counts, Failure, Kill, Preload, Torn, WriteError};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const SYNCS: [&str; 4] = ["fsync", "fdatasync", "sync_file_range", "syncfs"];
const WRITES: [&str; 5] = ["write", "writev", "pwrite", "pwrite64", "pwritev"];

/// A process, its page, and two directories: `hurt` is, `hurtless` is not.
struct Fixture {
    subject: Subject,
    preload: Preload,
    scratch: Scratch,
}

impl Fixture {
    fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        let directory = |name: &str| {
            fs::create_dir(scratch.path().join(name)).unwrap();
            scratch.path().join(name)
        };
        let (hurt, _) = (directory("hurt"), directory("hurtless"));
        let preload = Preload::new(scratch.path(), "control", &hurt).unwrap();
        let subject = Subject::start(&preload).unwrap();
        Self { subject, preload, scratch }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.scratch.path().join(file)
    }

    fn sync(&mut self, call: &str, file: &str) -> Answer {
        self.subject.ask(&format!("{call} {}", self.path(file).display())).unwrap()
    }

    fn write(&mut self, call: &str, file: &str, bytes: usize) -> Answer {
        self.subject.ask(&format!("{call} {} {bytes}", self.path(file).display())).unwrap()
    }

    /// The wall clock in four ways and the monotonic one, in seconds.
    fn clocks(&mut self) -> Vec<i64> {
        let Answer::Done(clocks) = self.subject.ask("clock").unwrap() else { panic!("the clock did not answer") };
        clocks.split(' ').map(|clock| clock.parse().unwrap()).collect()
    }

    fn wait(&mut self, millis: u64) -> u64 {
        let Answer::Done(took) = self.subject.ask(&format!("wait {millis}")).unwrap() else { panic!("no wait") };
        took.parse().unwrap()
    }
}

fn done(bytes: usize) -> Answer {
    Answer::Done(bytes.to_string())
}

fn synced() -> Answer {
    Answer::Done(String::new())
}

#[test]
fn every_fault_works_here() {
    Preload::probe().unwrap();
}

#[test]
fn every_kind_of_sync_is_slowed_and_only_of_files_that_are_hurt() {
    let mut fixture = Fixture::new();
    let delay = Duration::from_millis(20);
    fixture.preload.set_slow_sync(Some(delay));
    for call in SYNCS {
        let started = Instant::now();
        assert_eq!(fixture.sync(call, "hurt/a"), synced(), "{call}");
        assert!(started.elapsed() >= delay, "{call}");
        assert_eq!(fixture.sync(call, "hurtless/a"), synced(), "{call}");
    }
    // The names in a directory are synced as files are.
    assert_eq!(fixture.sync("fsync", "hurt"), synced());
    fixture.preload.reset();
    assert_eq!(fixture.sync("fsync", "hurt/a"), synced());
    let expected = Counts { processes: 1, syncs: 6, syncs_slowed: 5, ..Counts::default() };
    assert_eq!(fixture.preload.counts(), expected);
}

#[test]
fn syncs_fail_always_a_few_times_or_now_and_then() {
    let mut fixture = Fixture::new();
    let mut failed = |failure: Failure| {
        fixture.preload.set_sync_error(Some(failure));
        let answers = (0..6).map(|_| fixture.sync("fdatasync", "hurt/a")).collect::<Vec<_>>();
        assert!(answers.iter().all(|answer| [synced(), Answer::Failed(EIO)].contains(answer)), "{answers:?}");
        answers.into_iter().map(|answer| answer != synced()).collect::<Vec<_>>()
    };
    assert_eq!(failed(Failure::Always), [true; 6]);
    assert_eq!(failed(Failure::Next(2)), [true, true, false, false, false, false]);
    let one_in = |calls| Failure::OneIn(NonZeroU32::new(calls).unwrap());
    assert_eq!(failed(one_in(3)), [false, false, true, false, false, true]);
    // Calls are counted from when it was set.
    assert_eq!(failed(one_in(4)), [false, false, false, true, false, false]);
    fixture.preload.set_sync_error(Some(Failure::Always));
    for call in SYNCS {
        assert_eq!(fixture.sync(call, "hurt/a"), Answer::Failed(EIO), "{call}");
        assert_eq!(fixture.sync(call, "hurtless/a"), synced(), "{call}");
    }
    fixture.preload.set_sync_error(None);
    assert_eq!(fixture.sync("fdatasync", "hurt/a"), synced());
    let expected = Counts { processes: 1, syncs: 29, syncs_failed: 15, ..Counts::default() };
    assert_eq!(fixture.preload.counts(), expected);
}

#[test]
fn every_kind_of_write_fails_and_writes_nothing() {
    let mut fixture = Fixture::new();
    for (error, number) in [(WriteError::Io, EIO), (WriteError::NoSpace, ENOSPC)] {
        fixture.preload.set_write_error(Some((Failure::Always, error)));
        for call in WRITES {
            assert_eq!(fixture.write(call, "hurt/a", 700), Answer::Failed(number), "{call}");
            assert_eq!(fixture.write(call, "hurtless/a", 700), done(700), "{call}");
        }
    }
    assert_eq!(fs::metadata(fixture.path("hurt/a")).unwrap().len(), 0);
    fixture.preload.reset();
    for call in WRITES {
        assert_eq!(fixture.write(call, "hurt/a", 700), done(700), "{call}");
    }
    assert_eq!(fixture.preload.counts(), Counts { processes: 1, writes_failed: 10, ..Counts::default() });
}

#[test]
fn a_suffix_spares_files_and_directories_without_it() {
    let mut fixture = Fixture::new();
    fixture.preload.only(Some(".log")).unwrap();
    fixture.preload.set_sync_error(Some(Failure::Always));
    assert_eq!(fixture.sync("fsync", "hurt/1.log"), Answer::Failed(EIO));
    assert_eq!(fixture.sync("fsync", "hurt/1.sst"), synced());
    assert_eq!(fixture.sync("fsync", "hurt"), synced());
    fixture.preload.only(None).unwrap();
    assert_eq!(fixture.sync("fsync", "hurt/1.sst"), Answer::Failed(EIO));
    assert!(fixture.preload.only(Some("012345678")).is_err());
    assert_eq!(fixture.preload.counts().syncs, 2);
}

#[test]
fn a_torn_write_keeps_whole_sectors_and_kills_at_once() {
    for call in WRITES {
        let mut fixture = Fixture::new();
        // The first write of the process, so that all kinds write from the file's start.
        fixture.preload.set_torn_write(Some(Torn { kill: Kill::AtOnce, choice: 5 }));
        let Answer::Ended(status) = fixture.write(call, "hurt/a", 2048) else { panic!("{call} returned") };
        assert_eq!(status.signal(), Some(9), "{call}");
        // Cuts at 512, 1024 and 1536: the choice is taken modulo three.
        assert_eq!(fs::read(fixture.path("hurt/a")).unwrap(), vec![b'x'; 1536], "{call}");
        assert_eq!(fixture.preload.counts(), Counts { processes: 1, writes_torn: 1, ..Counts::default() }, "{call}");
    }
}

#[test]
fn a_torn_write_is_believed_until_the_next_sync_and_the_next_life_is_whole() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.write("write", "hurt/a", 100), done(100));
    fixture.preload.set_torn_write(Some(Torn { kill: Kill::AtSync, choice: 0 }));
    assert_eq!(fixture.write("write", "hurtless/a", 1000), done(1000));
    // From byte 100 the next boundary is 512.
    assert_eq!(fixture.write("write", "hurt/a", 1000), done(1000));
    assert_eq!(fixture.write("write", "hurt/b", 1000), done(1000));
    assert_eq!(fs::metadata(fixture.path("hurt/b")).unwrap().len(), 1000);
    fixture.preload.reset();
    assert_eq!(fixture.sync("fdatasync", "hurtless/a"), synced());
    let Answer::Ended(status) = fixture.sync("fdatasync", "hurt/b") else { panic!("the sync returned") };
    assert_eq!(status.signal(), Some(9));
    assert_eq!(fs::metadata(fixture.path("hurt/a")).unwrap().len(), 512);
    fixture.subject = Subject::start(&fixture.preload).unwrap();
    assert_eq!(fixture.write("pwrite", "hurt/a", 2000), done(2000));
    assert_eq!(fixture.sync("fdatasync", "hurt/a"), synced());
    assert_eq!(fs::metadata(fixture.path("hurt/a")).unwrap().len(), 2000);
}

#[test]
fn a_write_within_a_sector_is_torn_away_whole() {
    let mut fixture = Fixture::new();
    fixture.preload.set_torn_write(Some(Torn { kill: Kill::AtOnce, choice: 1 }));
    assert!(matches!(fixture.write("write", "hurt/a", 512), Answer::Ended(_)));
    assert_eq!(fs::metadata(fixture.path("hurt/a")).unwrap().len(), 0);
}

#[test]
fn the_wall_clock_jumps_both_ways_and_the_monotonic_one_does_not() {
    let mut fixture = Fixture::new();
    let before = fixture.clocks();
    for shift in [86_400, -86_400] {
        fixture.preload.set_clock_offset(shift * 1_000_000_000);
        let shifted = fixture.clocks();
        for (read, (before, shifted)) in before.iter().zip(&shifted).enumerate() {
            let moved = shifted - before - if read < 4 { shift } else { 0 };
            assert!((0..60).contains(&moved), "clock {read} moved from {before} to {shifted}");
        }
    }
    assert_eq!(fixture.preload.counts(), Counts { processes: 1, clock_reads_shifted: 8, ..Counts::default() });
    fixture.preload.reset();
    assert!((0..60).contains(&(fixture.clocks()[0] - before[0])));
    assert_eq!(fixture.preload.counts().clock_reads_shifted, 8);
}

#[test]
fn deadlines_by_the_shifted_clock_are_kept() {
    let mut fixture = Fixture::new();
    for shift in [0, 86_400, -86_400] {
        fixture.preload.set_clock_offset(shift * 1_000_000_000);
        let took = fixture.wait(100);
        assert!((95..20_000).contains(&took), "shifted by {shift} s: {took} ms");
    }
}

#[test]
fn connects_go_where_the_links_say() {
    let scratch = Scratch::new().unwrap();
    let preload = Preload::new(scratch.path(), "control", scratch.path()).unwrap();
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (here, there) = (listen(), listen());
    let address = |listener: &TcpListener| match listener.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(address) => panic!("{address}"),
    };
    let (here, there, unused) = (address(&here), address(&there), "192.0.2.7:65000".parse::<SocketAddrV4>().unwrap());
    preload.redirect(&[(unused, here), (here, there)]).unwrap();
    preload.reset();
    let mut subject = Subject::start(&preload).unwrap();
    let mut connect = |to: SocketAddrV4| subject.ask(&format!("connect {to}")).unwrap();
    assert_eq!(connect(unused), Answer::Done(here.to_string()));
    assert_eq!(connect(here), Answer::Done(there.to_string()));
    assert_eq!(connect(there), Answer::Done(there.to_string()));
    assert_eq!(preload.counts(), Counts { processes: 1, connects_redirected: 2, ..Counts::default() });
    assert!(preload.redirect(&[(here, there); 97]).is_err());
}

#[test]
fn settings_outlive_the_process_and_two_processes_are_apart() {
    let (mut one, mut two) = (Fixture::new(), Fixture::new());
    one.preload.set_sync_error(Some(Failure::Always));
    two.preload.set_write_error(Some((Failure::Always, WriteError::NoSpace)));
    for life in 1..=2 {
        assert_eq!(one.sync("fsync", "hurt/a"), Answer::Failed(EIO));
        assert_eq!(one.write("write", "hurt/a", 9), done(9));
        assert_eq!(two.sync("fsync", "hurt/a"), synced());
        assert_eq!(two.write("write", "hurt/a", 9), Answer::Failed(ENOSPC));
        let seen = Counts { processes: life, syncs: life, ..Counts::default() };
        assert_eq!(one.preload.counts(), Counts { syncs_failed: life, ..seen });
        assert_eq!(two.preload.counts(), Counts { writes_failed: life, ..seen });
        one.subject = Subject::start(&one.preload).unwrap();
        two.subject = Subject::start(&two.preload).unwrap();
    }
}

#[test]
fn a_page_is_made_once_and_for_a_directory_that_can_be_found() {
    let fixture = Fixture::new();
    assert!(Preload::new(fixture.scratch.path(), "control", fixture.scratch.path()).is_err());
    assert!(Preload::new(fixture.scratch.path(), "other", &fixture.path("none/of/these")).is_err());
}

#[test]
fn other_libraries_stay_and_a_page_that_is_none_is_refused() {
    let fixture = Fixture::new();
    let mut command = Command::new("true");
    fixture.preload.apply(command.env("LD_PRELOAD", "libm.so.6"));
    let value = |wanted: &str| command.get_envs().find(|(name, _)| *name == wanted).unwrap().1.unwrap().to_owned();
    assert!(value("LD_PRELOAD").to_str().unwrap().ends_with("/liblentic_preload.so:libm.so.6"));
    let control = PathBuf::from(value("PRELOAD_CONTROL"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    fs::write(&control, [b'?'; 4096]).unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8(output.stderr).unwrap().contains("another version"));
}
