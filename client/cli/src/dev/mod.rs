//! `lentic dev`: a cluster of real processes on this machine.
//!
//! | file | idea |
//! |---|---|
//! | `command` | start, tell how to talk to it, wait, stop |
//! | `layout` | which node has which ports and which directory |
//! | `processes` | nodes as children of this process |
//! | `report` | how to talk to the cluster |

mod command;
mod layout;
mod processes;
mod report;

pub(crate) use command::DevArgs;
