//! `lentic txn`: a script that is run as one transaction.
//!
//! ```text
//!   file ─ script ─┬─ lines (text) ── words ─┬─ statements ─┬─ perform ─ commit ─ committed
//!                  └─ members (JSON) ────────┘              └─ dry run
//! ```
//!
//! Nothing is sent before the whole script is understood. Statements are performed in their order, in one transaction of
//! the client: reads see the writes above them, and conditions are judged when it commits.

mod command;
mod committed;
mod dry_run;
mod lines;
mod members;
mod perform;
mod script;
mod statement;
mod words;

pub(crate) use command::TxnArgs;
