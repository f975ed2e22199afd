//! A node on a real disk: what stands around the node of the library.
//!
//! | module | idea |
//! |---|---|
//! | [`Running`], [`Embedded`] | a node with its sockets, and one without |
//! | [`config`] | every knob, from file, environment and arguments |
//! | [`directory`] | the data directory: whose it is, and that it is one process's |
//! | [`http`] | pages for operators and their machines: metrics, health, readiness |
//! | [`logging`] | what the node says of itself |
//! | [`signals`] | when to stop |
//! | `core`, `peers` | log, store and node on their directory, and what is remembered of others |
//! | `options`, `observe` | knobs on their way to their owners, figures on theirs to the pages |
//!
//! Deliberately absent: any decision about data, and a command line.

pub mod config;
mod core;
pub mod directory;
mod embedded;
mod error;
pub mod http;
pub mod logging;
mod observe;
mod options;
mod peers;
mod run;
pub mod signals;

pub use embedded::Embedded;
pub use error::{Fatal, StartError, StopError};
pub use run::Running;
