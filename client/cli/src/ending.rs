//! How a command ends: the exit codes that scripts can use.

use std::process::ExitCode;

use serde::{Serialize, Serializer};

/// How a command ends. The numbers are promises to scripts and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ending {
    /// It did what it was asked to.
    Done = 0,
    /// The answer is no: a key has no value, a condition does not hold, the cluster is not healthy.
    No = 1,
    /// It cannot be done as it is asked for: arguments, configuration, or a file of this machine.
    Usage = 2,
    /// No node was reached.
    NotReached = 3,
    /// The cluster refused it, and it had no effect; or a node that was to run cannot.
    Refused = 4,
    /// It may have had its effect: read before writing again.
    Unknown = 5,
    /// A node that ran had to end: its disk failed or is full, or nobody could connect any more.
    Ended = 6,
    /// It was interrupted.
    Interrupted = 130,
    /// Nobody reads its stdout any more, as after `| head`.
    Unheard = 141,
}

/// The exit codes, for the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the answer is no: a key has no value, a condition does not hold, the cluster is not healthy
  2    it cannot be done as it is asked for: arguments, configuration, or a file of this machine
  3    no node was reached
  4    the cluster refused it, and it had no effect; or a node that was to run cannot
  5    the outcome is unknown; read before writing again
  6    a node had to end: its disk failed or is full, or nobody could connect any more
  130  interrupted
  141  nobody reads stdout any more";

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending as u8)
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code() {
        let all = [
            Ending::Done,
            Ending::No,
            Ending::Usage,
            Ending::NotReached,
            Ending::Refused,
            Ending::Unknown,
            Ending::Ended,
            Ending::Interrupted,
            Ending::Unheard,
        ];
        let codes: Vec<u8> = EXIT_CODES
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().and_then(|code| code.parse().ok()).unwrap())
            .collect();
        assert_eq!(codes, all.map(|ending| ending as u8));
    }
}
