//! A node on a real disk: what stands around the node of the library.
//!
//! | module | idea |
//! |---|---|
//! | [`config`] | every knob, from file, environment and arguments |
//! | [`directory`] | the data directory: whose it is, and that it is one process's |
//! | [`http`] | pages for operators and their machines: metrics, health, readiness |
//! | [`logging`] | what the node says of itself |
//! | [`signals`] | when to stop |
//!
//! Deliberately absent: any decision about data, and a command line.

pub mod config;
pub mod directory;
pub mod http;
pub mod logging;
pub mod signals;
