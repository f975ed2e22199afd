//! What is written to stdout, in three formats: for people, plain for scripts, and JSON.
//!
//! Every answer is a type that knows all three. JSON is one object on one line for each answer; scans give one for each
//! row. Its shapes are promises: see docs/cli.md.

mod answer;
mod json;
mod printer;
mod rows;
#[cfg(test)]
mod shapes;
mod table;

pub(crate) use answer::Answer;
pub(crate) use json::{bytes_member, version_text};
pub(crate) use printer::{Format, Printer};
pub(crate) use rows::{RowStyle, Rows, ShownRow};
#[cfg(test)]
pub(crate) use shapes::{shapes, shapes_of};
pub(crate) use table::{Align, Table};
