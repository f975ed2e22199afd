//! Whether the faults work on this machine: each is tried on a process of our own.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;

use super::fault::{Failure, Kill, Torn, WriteError};
use super::preload::Preload;
use super::subject::{Answer, Scratch, Subject};

/// How much a sync is slowed; a quick disk needs less than this.
const DELAY: Duration = Duration::from_millis(50);

/// How far the clock is shifted, and how much of that two reads after each other may miss.
const SHIFT: Duration = Duration::from_secs(3600);
const SHIFT_MISS: Duration = Duration::from_secs(60);

/// Nothing listens there.
const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);

/// A kind of fault: its name, and its trial.
type Trial = (&'static str, fn(&mut Place) -> Result<(), String>);

/// In the order of trial: the last one ends the process.
const TRIALS: &[Trial] = &[
    ("a slow sync", slow_sync),
    ("a failing sync", failing_sync),
    ("a failing write", failing_write),
    ("a shifted clock", shifted_clock),
    ("a redirected connect", redirected_connect),
    ("a torn write", torn_write),
];

struct Place {
    subject: Subject,
    preload: Preload,
    listener: SocketAddr,
    scratch: Scratch,
}

impl Preload {
    /// Tries each kind of fault on a small process: whether it takes effect and, but for the last, ends by a reset.
    ///
    /// # Errors
    /// What does not work, in words.
    pub fn probe() -> Result<(), String> {
        let failed = |error: io::Error| format!("a process with the library does not start: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let mut place = Place::new(listener.local_addr().map_err(failed)?).map_err(failed)?;
        for (name, trial) in TRIALS {
            trial(&mut place).map_err(|error| format!("{name} does not work: {error}"))?;
            place.preload.reset();
        }
        Ok(())
    }
}

impl Place {
    fn new(listener: SocketAddr) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let preload = Preload::new(scratch.path(), "control", &scratch.path().join("hurt"))?;
        fs::create_dir(scratch.path().join("hurt"))?;
        if let SocketAddr::V4(listener) = listener {
            preload.redirect(&[(NOWHERE, listener)])?;
        }
        let subject = Subject::start(&preload)?;
        Ok(Self { subject, preload, listener, scratch })
    }

    /// Makes the process do `call` on the file that is hurt.
    fn ask(&mut self, call: &str, rest: &str) -> Result<Answer, String> {
        let path = self.scratch.path().join("hurt/file");
        self.subject.ask(&format!("{call} {}{rest}", path.display())).map_err(|error| error.to_string())
    }

    /// Expects a call to fail with `error`, and after a reset to do.
    fn fails(&mut self, call: &str, rest: &str, error: Errno) -> Result<(), String> {
        let answer = self.ask(call, rest)?;
        check(answer == Answer::Failed(error.raw_os_error()), || {
            format!("expected the call to fail, found {answer:?}")
        })?;
        self.preload.reset();
        let answer = self.ask(call, rest)?;
        check(matches!(answer, Answer::Done(_)), || format!("expected no failure after a reset, found {answer:?}"))
    }
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn slow_sync(place: &mut Place) -> Result<(), String> {
    place.preload.set_slow_sync(Some(DELAY));
    let started = Instant::now();
    let answer = place.ask("fdatasync", "")?;
    let took = started.elapsed();
    check(took >= DELAY, || format!("expected a sync of {DELAY:?} at least, found {answer:?} after {took:?}"))?;
    place.preload.reset();
    place.ask("fdatasync", "")?;
    let counts = place.preload.counts();
    let told = (counts.syncs, counts.syncs_slowed);
    check(told == (2, 1), || format!("expected one sync of two to be slowed, found {counts:?}"))
}

fn failing_sync(place: &mut Place) -> Result<(), String> {
    place.preload.set_sync_error(Some(Failure::Always));
    place.fails("fdatasync", "", Errno::IO)
}

fn failing_write(place: &mut Place) -> Result<(), String> {
    place.preload.set_write_error(Some((Failure::Always, WriteError::NoSpace)));
    place.fails("pwrite64", " 1024", Errno::NOSPC)
}

fn shifted_clock(place: &mut Place) -> Result<(), String> {
    for shift in [SHIFT, Duration::ZERO] {
        place.preload.set_clock_offset(i64::try_from(shift.as_nanos()).unwrap_or(i64::MAX));
        let expected = SystemTime::now() + shift;
        let answer = place.subject.ask("clock").map_err(|error| error.to_string())?;
        let read = match &answer {
            Answer::Done(clocks) => clocks.split(' ').next().and_then(|seconds| seconds.parse().ok()),
            _ => None,
        };
        let read = SystemTime::UNIX_EPOCH + Duration::from_secs(read.unwrap_or(0));
        let miss = read.duration_since(expected).unwrap_or_else(|error| error.duration());
        check(miss < SHIFT_MISS, || format!("expected the clock shifted by {shift:?}, found {answer:?}"))?;
    }
    Ok(())
}

fn redirected_connect(place: &mut Place) -> Result<(), String> {
    let answer = place.subject.ask(&format!("connect {NOWHERE}")).map_err(|error| error.to_string())?;
    let expected = Answer::Done(place.listener.to_string());
    check(answer == expected, || format!("expected {expected:?} in place of {NOWHERE}, found {answer:?}"))
}

fn torn_write(place: &mut Place) -> Result<(), String> {
    place.ask("fdatasync", "")?;
    let file = place.scratch.path().join("hurt/file");
    let bytes = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let before = bytes();
    place.preload.set_torn_write(Some(Torn { kill: Kill::AtOnce, choice: 2 }));
    let answer = place.ask("pwrite64", " 4096")?;
    check(matches!(answer, Answer::Ended(_)), || format!("expected the process to be killed, found {answer:?}"))?;
    let after = bytes();
    check((before, after) == (1024, 1536), || {
        format!("expected three sectors in place of two, found {before} and {after} bytes")
    })
}
