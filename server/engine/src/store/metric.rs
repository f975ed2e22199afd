//! Figures for an operator, as plain data: who serves them registers and renders them.

/// How a figure behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises, and begins at 0 when the store is opened.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with its unit at the end.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// Its value now.
    pub value: u64,
}
