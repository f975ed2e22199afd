//! The side of whoever tests: starts a process with the library, and changes its page while it runs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::SocketAddrV4;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use rustix::io::Errno;

use super::fault::{Counts, Failure, Torn, WriteError};
use super::layout;
use super::page::Page;

/// The library, compiled with this crate.
const LIBRARY: &str = concat!(env!("OUT_DIR"), "/liblentic_preload.so");

/// The loader's variable, and what parts its entries.
const LD_PRELOAD: &str = "LD_PRELOAD";

/// The library and the page of one process. The page is a file: settings and counts outlive the process, and the next
/// one that is started with them goes on from there. So do the processes that it starts itself.
///
/// Only files at or below one directory are hurt by faults of syncs and writes, the directory and those below it
/// included; with a suffix ([`Self::only`]), only those of them whose names end with it.
#[derive(Debug)]
pub struct Preload {
    page: Page,
    control: PathBuf,
}

impl Preload {
    /// A page of its own, in the file `name` of `home`, which must not exist. `hurts` is the directory whose files are
    /// hurt; it need not exist yet, but its parent does. Nothing is set.
    pub fn new(home: &Path, name: &str, hurts: &Path) -> io::Result<Self> {
        if LIBRARY.contains([' ', ':']) {
            let message = format!("the loader cannot be told {LIBRARY}: build in a folder without spaces and colons");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let control = home.canonicalize()?.join(name);
        let page = Page::create(&control, seen(hurts)?.as_os_str().as_bytes())
            .map_err(|error| io::Error::new(error.kind(), format!("making {}: {error}", control.display())))?;
        Ok(Self { page, control })
    }

    /// Makes the process that `command` starts one that can be hurt. What else is to be preloaded stays.
    pub fn apply(&self, command: &mut Command) {
        let told =
            command.get_envs().find(|(name, _)| *name == LD_PRELOAD).map(|(_, value)| value.map(OsStr::to_owned));
        let mut libraries = OsString::from(LIBRARY);
        if let Some(others) = told.unwrap_or_else(|| env::var_os(LD_PRELOAD)).filter(|others| !others.is_empty()) {
            libraries.push(":");
            libraries.push(others);
        }
        command.env(LD_PRELOAD, libraries).env(layout::CONTROL, &self.control);
    }

    /// Sends connects to the first address of each pair to the second, in place of all earlier pairs. Call it before
    /// the process is started: a connect in the midst of a change may find half of it. A reset leaves them.
    ///
    /// # Errors
    /// More pairs than the page has room for.
    pub fn redirect(&self, links: &[(SocketAddrV4, SocketAddrV4)]) -> io::Result<()> {
        if links.len() > layout::LINKS_MAX {
            let message = format!("{} links, expected {} at most", links.len(), layout::LINKS_MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.page.word(layout::AT_LINKS).store(0, Release);
        let ends = links.iter().flat_map(|(from, to)| [from, to]);
        for (at, end) in (layout::AT_FIRST_LINK..).zip(ends) {
            let word = u64::from(end.ip().to_bits()) << layout::PORT_BITS | u64::from(end.port());
            self.page.word(at).store(word, Relaxed);
        }
        self.page.word(layout::AT_LINKS).store(links.len() as u64, Release);
        Ok(())
    }

    /// Hurts only files whose names end with `suffix`, of 8 bytes at most; with `None`, all below the directory.
    ///
    /// # Errors
    /// The suffix is longer.
    pub fn only(&self, suffix: Option<&str>) -> io::Result<()> {
        let suffix = suffix.unwrap_or_default();
        let mut word = [0; 8];
        let Some(bytes) = word.get_mut(..suffix.len()) else {
            let message = format!("the suffix {suffix:?}, expected 8 bytes at most");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        bytes.copy_from_slice(suffix.as_bytes());
        self.set(layout::AT_SUFFIX, u64::from_ne_bytes(word));
        Ok(())
    }

    /// Makes each sync take so much longer, in whole microseconds.
    pub fn set_slow_sync(&self, delay: Option<Duration>) {
        let micros = delay.unwrap_or_default().as_micros();
        self.set(layout::AT_SYNC_DELAY_MICROS, u64::try_from(micros).unwrap_or(u64::MAX));
    }

    /// Makes syncs fail with `EIO`, without asking the disk: what was written stays readable, and may yet be kept.
    pub fn set_sync_error(&self, failure: Option<Failure>) {
        self.set_failure(layout::AT_SYNC_FAILURE, failure.map(|failure| failure.word(Errno::IO)));
    }

    /// Makes writes fail; nothing of them is written.
    pub fn set_write_error(&self, failure: Option<(Failure, WriteError)>) {
        self.set_failure(layout::AT_WRITE_FAILURE, failure.map(|(failure, error)| failure.word(error.errno())));
    }

    /// Tears the next write, and with it ends the process. Nothing is torn after that.
    pub fn set_torn_write(&self, torn: Option<Torn>) {
        self.set(layout::AT_TORN_WRITE, torn.map_or(0, Torn::word));
    }

    /// Sets how far the process's wall clock is ahead of the machine's; below zero it is behind. The monotonic clock
    /// and the times of files stay.
    pub fn set_clock_offset(&self, nanos: i64) {
        self.set(layout::AT_CLOCK_OFFSET_NANOS, nanos.cast_unsigned());
    }

    /// Ends all faults, and hurts all files below the directory again. Links and counts stay.
    pub fn reset(&self) {
        for at in layout::AT_FIRST_SETTING..layout::AT_SETTINGS_END {
            self.set(at, 0);
        }
    }

    /// What the library saw and did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let count = |at: usize| self.page.word(at).load(Relaxed);
        Counts {
            processes: count(layout::AT_PROCESSES),
            syncs: count(layout::AT_SYNCS),
            syncs_slowed: count(layout::AT_SYNCS_SLOWED),
            syncs_failed: count(layout::AT_SYNCS_FAILED),
            writes_failed: count(layout::AT_WRITES_FAILED),
            writes_torn: count(layout::AT_WRITES_TORN),
            clock_reads_shifted: count(layout::AT_CLOCK_READS_SHIFTED),
            connects_redirected: count(layout::AT_CONNECTS_REDIRECTED),
        }
    }

    fn set(&self, at: usize, word: u64) {
        self.page.word(at).store(word, Relaxed);
    }

    /// Begins to count calls anew, then sets the failure.
    fn set_failure(&self, at: usize, word: Option<u64>) {
        self.page.word(at + layout::SEQUENCE).store(0, Relaxed);
        self.page.word(at).store(word.unwrap_or(0), Release);
    }
}

/// The directory as the kernel names it: without links.
fn seen(directory: &Path) -> io::Result<PathBuf> {
    match (directory.canonicalize(), directory.parent(), directory.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(parent.canonicalize()?.join(name))
        }
        (result, ..) => result,
    }
}
