//! The commands of a script.
//!
//! Each write is a log entry of its own. Table 7 is meant; the prefix `t8:` before a command means table 8. Tags stand
//! in brackets behind a command: `scan a..c at=5 [reverse stats]`.

use crate::notation::{At, Cell, Key, Kind, Operator, Range, Value, Versions};

#[derive(goldenscript::Command)]
pub(crate) enum Command {
    /// Puts a value; with `times`, one a millisecond from the cell's version on.
    Put {
        cell: Cell,
        value: Value,
        #[arg(key)]
        until: Option<u64>,
        #[arg(key)]
        times: Option<u64>,
    },

    /// Deletes cells: `delete a@5 b@6`.
    Delete(Vec<Cell>),

    /// Merges an operand, and prints the record it left. Tag: stats.
    Merge {
        cell: Cell,
        operator: Operator,
        operand: Value,
        #[arg(key)]
        until: Option<u64>,
        #[arg(key)]
        times: Option<u64>,
    },

    /// Rolls a range, or the whole table, back: `rollback a..c to=5 at=9`.
    Rollback {
        range: Option<Range>,
        #[arg(key)]
        to: At,
        #[arg(key)]
        at: At,
    },

    /// Gets cells: `get a@5 a@6`. Tag: stats.
    Get {
        cells: Vec<Cell>,
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// Gets keys at one version. Tag: stats.
    MultiGet {
        keys: Vec<Key>,
        #[arg(key)]
        at: At,
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// What a writer at a cell's version needs to know of its key. Tag: stats.
    Head(Vec<Cell>),

    /// Scans a range, or the whole table, for one page. Tags: reverse, stats, pages (all of them, one after another).
    Scan {
        range: Option<Range>,
        #[arg(key)]
        at: Option<At>,
        #[arg(key)]
        rows: Option<usize>,
        #[arg(key)]
        bytes: Option<usize>,
        #[arg(key)]
        steps: Option<u64>,
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// Prints all records, in the order of the store. Tag: raw (with the bytes of keys and records).
    Dump {
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// Logs new GC rules for a range, or the whole table: `stage watermark=9 pins="3,5"`.
    Stage {
        range: Option<Range>,
        #[arg(key)]
        watermark: At,
        #[arg(key, optional)]
        pins: Versions,
    },

    /// Makes the rules active whose index is durable, as a store does after a flush.
    Promote,

    /// Collects garbage by the active rules, and prints what became of which record.
    Compact,

    /// Flush, promote and compact at once.
    Collect,

    /// Flushes the store.
    Flush,

    /// Dies, and comes back with the first `keep` of the entries that were not flushed.
    Crash {
        #[arg(key)]
        keep: usize,
    },
}
