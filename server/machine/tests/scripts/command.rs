//! The commands of a script that do not go through the log.

use crate::notation::{At, Cell, Kind, Range};

#[derive(goldenscript::Command)]
pub(crate) enum Command {
    /// Makes the shard: `create range=a..z epoch=1`. By default it holds all keys and is at epoch 1.
    Create {
        #[arg(key)]
        range: Option<Range>,
        #[arg(key)]
        epoch: Option<u64>,
        #[arg(key)]
        ttl: Option<u64>,
    },

    /// Gathers the requests up to `commit` in one entry; with `epoch`, as routed at that epoch.
    Begin {
        #[arg(key)]
        epoch: Option<u64>,
    },

    /// Applies what was gathered.
    Commit,

    /// Sends the requests of the last entry, or of the one with the stamp `of`, again: stamped `version` and on.
    Retry {
        version: At,
        #[arg(key)]
        of: Option<At>,
    },

    /// Applies an entry with a write of nothing every second, from a version up to another: the shard gets older.
    Busy {
        from: At,
        #[arg(key)]
        to: At,
    },

    /// Gets cells: `get a@5 b`.
    Get {
        cells: Vec<Cell>,
        /// The branch's shard, by its number.
        #[arg(key)]
        of: Option<u64>,
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// Scans a range, or the whole table.
    Scan {
        range: Option<Range>,
        #[arg(key)]
        at: Option<At>,
        #[arg(key)]
        of: Option<u64>,
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// Prints what a feed of a range tells behind `after`, up to `until`.
    Feed {
        range: Range,
        #[arg(key)]
        after: At,
        #[arg(key)]
        until: At,
    },

    /// Says whether entries are printed as applied with the memo of heads, `on` or `off`. Both ways are applied always.
    Heads(String),

    /// Turns to the shard with this number, which a split has made, or back to the one it was made of: `turn 9`.
    Turn(u64),

    /// Loads the shard anew: it must be the one that was.
    Reload,

    /// Flushes the store.
    Flush,

    /// Flushes the store, and removes what the rules of GC let go of.
    Collect,

    /// Dies, comes back with the first `keep` of the entries that were not flushed, and applies the others again.
    Crash {
        #[arg(key)]
        keep: usize,
    },

    /// Prints the entries of the store: `dump data`, `dump lock`, `dump sys`.
    Dump {
        family: String,
        #[arg(key = "as", optional)]
        kind: Kind,
    },

    /// Prints the shard's state, but for the answers: those are in `dump sys`.
    State,

    /// Whatever else: a request ([`crate::request`]).
    #[command(other)]
    Request(goldenscript::Command),
}
