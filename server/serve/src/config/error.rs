//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// An argument of the command line.
    Argument {
        /// The argument, as it is called there.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Argument { name } => write!(f, "argument {name}"),
        }
    }
}

/// A configuration that no node can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read the configuration in {}: {reason}; check the path and the rights", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The file is no TOML.
    #[error("{}, line {line}: {reason}; the file is read as TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// There is no such knob.
    #[error("{origin}: unknown key `{key}`; the nearest known key is `{nearest}`")]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The known key that is most like it.
        nearest: String,
    },
    /// A section stands where a knob's value is set.
    #[error("{origin}: `{key}` is a section, not a knob; set its knobs, as in [{key}] of a file")]
    Section {
        /// The section.
        key: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A knob does not take such a value.
    #[error("{origin}: expected `{key}` to be {expected}, found {found}")]
    Wrong {
        /// The key.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Knobs that make no node, each by itself or together.
    #[error("{}{reason}", section_words(section))]
    Unfit {
        /// The section.
        section: &'static str,
        /// What was expected and found, and what to do.
        reason: String,
    },
}

/// The section of a message; the knobs at the top have none.
fn section_words(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!("section [{section}]: ") }
}

/// Longest value that a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// A value as a message shows it: quoted, and no longer than a line.
pub(super) fn show(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{start:?} and more")
}
