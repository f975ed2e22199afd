//! Why a command failed, as it is told on stderr.

use std::fmt;
use std::io;

use lentic_client::{Error, ErrorKind};
use serde::Serialize;

use crate::ending::Ending;
use crate::output::Format;

/// Why a command failed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Ending,
    /// One word for scripts: that of the error kind if the cluster said it, else `usage`, `file`, `not_reached` or `no`.
    pub(crate) kind: &'static str,
    /// What was expected, and what was found.
    pub(crate) message: String,
    /// What to do, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// Which condition or operation it is about, from 0, or which statement of a script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<u32>,
    /// What to do before the command is run again, if the cluster has refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<Retry>,
}

/// What to do before a command is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Retry {
    /// Nothing: it had no effect, and may have one the next time.
    Safe,
    /// Read: it may have had its effect.
    ReadFirst,
    /// Change it: as it is, it never will have an effect.
    Never,
}

impl Failure {
    /// The command cannot be run as it is asked for.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Ending::Usage, "usage", message)
    }

    /// The answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Ending::No, "no", message)
    }

    /// A file of this machine cannot be used.
    pub(crate) fn file(path: &str, error: &dyn fmt::Display) -> Self {
        Self::new(Ending::Usage, "file", format!("{path}: {error}"))
    }

    /// No node answered.
    pub(crate) fn not_reached(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Ending::NotReached, "not_reached", message).with_help(help)
    }

    /// Stdout cannot be written to.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        let is_closed = error.kind() == io::ErrorKind::BrokenPipe;
        let code = if is_closed { Ending::Unheard } else { Ending::Usage };
        Self::new(code, "file", format!("stdout: {error}"))
    }

    fn new(code: Ending, kind: &'static str, message: impl Into<String>) -> Self {
        Self { code, kind, message: message.into(), help: None, position: None, retry: None }
    }

    /// With words before its message.
    pub(crate) fn in_front(mut self, words: &str) -> Self {
        self.message.insert_str(0, words);
        self
    }

    /// With advice.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As it is written to stderr, with a line end.
    pub(crate) fn rendered(&self, format: Format) -> String {
        match format {
            _ if self.code == Ending::Unheard => String::new(),
            Format::Json => {
                let error = Enveloped { error: self };
                serde_json::to_string(&error).expect("words and numbers are JSON") + "\n"
            }
            Format::Human | Format::Plain => {
                let help = self.help.as_ref().map(|help| format!("  help: {help}\n")).unwrap_or_default();
                let word = if self.code == Ending::No { "no" } else { "error" };
                format!("{word}: {}\n{help}", self.message)
            }
        }
    }
}

#[derive(Serialize)]
struct Enveloped<'a> {
    error: &'a Failure,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::ConditionFailed => Ending::No,
            ErrorKind::Unknown | ErrorKind::AnswerForgotten => Ending::Unknown,
            _ if error.is_unknown() => Ending::Unknown,
            _ => Ending::Refused,
        };
        let help = match error.kind() {
            ErrorKind::NotFound => Some("`lentic table list` and `lentic status --shards` show what there is"),
            ErrorKind::Throttled => Some("try again later, or allow it more time with --deadline"),
            ErrorKind::VersionTooOld => Some("history goes back as far as the table's retention: `lentic table show`"),
            ErrorKind::VersionTooNew => Some("`lentic now` tells the newest version that can be read"),
            ErrorKind::Conflict => Some("nothing was done; run it again"),
            _ if code == Ending::Unknown => Some("it may have had its effect: read before writing again"),
            _ => None,
        };
        // A command that is run again reads again, which is all that a conflict asks for.
        let retry = match error.kind() {
            _ if code == Ending::Unknown => Retry::ReadFirst,
            ErrorKind::Conflict => Retry::Safe,
            _ if error.is_retryable() => Retry::Safe,
            _ => Retry::Never,
        };
        Self {
            help: help.map(str::to_owned),
            position: error.position(),
            retry: Some(retry),
            ..Self::new(code, error.kind().word(), error.message())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_in_each_format() {
        let failure = Failure::not_reached("no node answered at http://a:1", "is `lentic serve` running there?");
        assert_eq!(
            failure.rendered(Format::Human),
            "error: no node answered at http://a:1\n  help: is `lentic serve` running there?\n"
        );
        assert_eq!(failure.rendered(Format::Plain), failure.rendered(Format::Human));
        assert_eq!(
            failure.rendered(Format::Json),
            "{\"error\":{\"code\":3,\"kind\":\"not_reached\",\"message\":\"no node answered at http://a:1\",\
             \"help\":\"is `lentic serve` running there?\"}}\n"
        );
        let usage = Failure::usage("no").in_front("row 1: ");
        assert_eq!(usage.rendered(Format::Human), "error: row 1: no\n");
        assert_eq!(
            usage.rendered(Format::Json),
            "{\"error\":{\"code\":2,\"kind\":\"usage\",\"message\":\"row 1: no\"}}\n"
        );
    }
}
