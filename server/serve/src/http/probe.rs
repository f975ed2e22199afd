//! What the pages ask of a node.

/// What the pages ask of a node. It is asked once a request, on a thread that may be held.
pub trait Probe: Send + Sync + 'static {
    /// What has stopped and needs a person; empty if all is well.
    fn faults(&self) -> Vec<String>;
    /// Why the node cannot serve now; empty if it can.
    fn not_ready(&self) -> Vec<String>;
    /// Figures. Each family once.
    fn metrics(&self) -> Vec<Family>;
}

/// A metric, with its values by label.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, with its unit at the end.
    pub name: String,
    /// What it says, in a sentence.
    pub help: String,
    /// Its values.
    pub samples: Samples,
}

/// The values of a metric, by what they mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// They only rise, and begin at 0 when the process starts.
    Counter(Vec<Sample<f64>>),
    /// They go up and down.
    Gauge(Vec<Sample<f64>>),
    /// How values are distributed.
    Histogram(Vec<Sample<Histogram>>),
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<T> {
    /// What it is of: names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: T,
}

/// A distribution since the process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, rising, each with the count of values at or below it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
    /// How many values there are, those above all bounds too.
    pub count: u64,
}

impl Family {
    /// A counter with one value.
    pub fn counter(name: impl Into<String>, help: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), help: help.into(), samples: Samples::Counter(vec![Sample::plain(value)]) }
    }

    /// A gauge with one value.
    pub fn gauge(name: impl Into<String>, help: impl Into<String>, value: f64) -> Self {
        Self { name: name.into(), help: help.into(), samples: Samples::Gauge(vec![Sample::plain(value)]) }
    }

    /// A histogram with one distribution.
    pub fn histogram(name: impl Into<String>, help: impl Into<String>, value: Histogram) -> Self {
        Self { name: name.into(), help: help.into(), samples: Samples::Histogram(vec![Sample::plain(value)]) }
    }
}

impl<T> Sample<T> {
    /// A value without labels.
    pub const fn plain(value: T) -> Self {
        Self { labels: Vec::new(), value }
    }
}
