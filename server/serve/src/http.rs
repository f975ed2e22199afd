//! Pages for operators and their machines.
//!
//! | page | what it tells |
//! |---|---|
//! | `/metrics` | figures, in the text format of Prometheus |
//! | `/healthz` | 200 while nothing has stopped that needs a person, else 503 and what has |
//! | `/readyz` | 200 while the node can serve, else 503 and why not |
//! | `/` | what is where |
//!
//! They only tell: nothing can be changed here. A supervisor that restarts what is not healthy is right; one that
//! restarts what is not ready takes nodes away from a cluster that needs them.

mod pages;
mod probe;
mod render;
mod serve;

pub use probe::{Family, Histogram, Probe, Sample, Samples};
pub use serve::serve;
