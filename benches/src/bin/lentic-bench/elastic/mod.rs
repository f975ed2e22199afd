//! What it costs those who write when shards split, are handed over, move, and are spread over one node more.
//!
//! One run under one load: puts that begin at a pace whatever the answers, each timed from when it should have begun.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | one step after the other, and the figures |
//! | `watch.rs` | the load, and what became of every put |
//! | `steps.rs` | what is done to the cluster meanwhile |
//! | `plot.rs` | all of it as a picture |

mod plot;
mod run;
mod steps;
mod watch;

pub(crate) use run::run;
