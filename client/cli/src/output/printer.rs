//! The way to stdout.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::answer::Answer;
use crate::failure::Failure;

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; it may change from release to release
    #[default]
    Human,
    /// Fields separated by tabs, without headings; what is not printable is escaped
    Plain,
    /// One JSON object a line
    Json,
}

/// Writes answers to stdout, or to memory in a test.
pub(crate) struct Printer {
    format: Format,
    out: Box<dyn Write + Send>,
}

impl Printer {
    /// A printer to `out`.
    pub(crate) fn new(format: Format, out: Box<dyn Write + Send>) -> Self {
        Self { format, out }
    }

    /// The format.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// Stdout is gone: stop.
    pub(crate) fn answer(&mut self, answer: &impl Answer) -> Result<(), Failure> {
        match self.format {
            Format::Human => self.text(&answer.human()),
            Format::Plain => answer.plain().iter().try_for_each(|fields| self.fields(fields)),
            Format::Json => self.json(answer),
        }
    }

    /// Writes a JSON value as a line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value).expect("answers have names for keys, and no value of theirs fails");
        self.text(&(line + "\n"))
    }

    /// Writes the fields of one line.
    pub(crate) fn fields(&mut self, fields: &[String]) -> Result<(), Failure> {
        debug_assert!(fields.iter().all(|field| !field.contains(['\t', '\n'])), "fields are escaped: {fields:?}");
        self.text(&(fields.join("\t") + "\n"))
    }

    /// Writes text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| Failure::stdout(&error))
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::stdout(&error))
    }
}
