//! What the pages tell of a node: its stage, its faults, its figures.

use std::sync::{Arc, Mutex, PoisonError};

use lentic_engine::Portable as _;
use lentic_engine::store::{Metric, MetricKind};
use lentic_log::Log;
use lentic_node::Node;
use lentic_rocks::RocksStore;

use crate::http::{Family, Histogram, Probe, Sample, Samples};

/// Looks at a node from its first moment to its last.
#[derive(Clone, Default)]
pub(crate) struct Observer(Arc<Mutex<Stage>>);

/// How far the process is.
#[derive(Clone, Default)]
enum Stage {
    /// It opens its directory, or joins.
    #[default]
    Starting,
    /// It runs.
    Up(Arc<Parts>),
    /// It hands over and stops.
    Stopping,
}

/// What is looked at.
pub(crate) struct Parts {
    pub(crate) node: Node<RocksStore>,
    pub(crate) store: Arc<RocksStore>,
    pub(crate) log: Log,
}

impl Observer {
    /// The node is there.
    pub(crate) fn is_up(&self, parts: Parts) {
        self.set(Stage::Up(Arc::new(parts)));
    }

    /// The node stops: it is let go of.
    pub(crate) fn is_stopping(&self) {
        self.set(Stage::Stopping);
    }

    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn stage(&self) -> Stage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Probe for Observer {
    fn faults(&self) -> Vec<String> {
        let Stage::Up(parts) = self.stage() else { return Vec::new() };
        let mut faults = parts.node.faults();
        faults.extend(parts.log.stats().err().map(|poisoned| poisoned.to_string()));
        faults
    }

    fn not_ready(&self) -> Vec<String> {
        match self.stage() {
            Stage::Starting => vec!["the node is starting, or joining its cluster".to_owned()],
            Stage::Up(parts) => parts.node.not_ready(),
            Stage::Stopping => vec!["the node is stopping".to_owned()],
        }
    }

    fn metrics(&self) -> Vec<Family> {
        let reasons = u32::try_from(self.not_ready().len()).unwrap_or(u32::MAX);
        let version = vec![("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        let build = Samples::Gauge(vec![Sample { labels: version, value: 1.0 }]);
        let help = "The release that runs, as a label; always 1.".to_owned();
        let mut families = vec![
            Family { name: "lentic_serve_build_info".to_owned(), help, samples: build },
            Family::gauge(
                "lentic_serve_not_ready_count",
                "Reasons why the node cannot serve now, as /readyz lists them.",
                reasons.into(),
            ),
        ];
        if let Stage::Up(parts) = self.stage() {
            families.extend(parts.node.metrics().iter().chain(&parts.store.metrics()).map(plain));
            families.extend(of_log(&parts.log));
        }
        families
    }
}

/// A figure as a float: exact up to 2^53, which no count of a process reaches.
#[expect(clippy::cast_precision_loss, reason = "figures are read by people")]
const fn float(value: u64) -> f64 {
    value as f64
}

fn plain(metric: &Metric) -> Family {
    match metric.kind {
        MetricKind::Counter => Family::counter(metric.name, metric.help, float(metric.value)),
        MetricKind::Gauge => Family::gauge(metric.name, metric.help, float(metric.value)),
    }
}

fn of_log(log: &Log) -> Vec<Family> {
    // A log that has stopped tells nothing any more; /healthz says so.
    let Ok(stats) = log.stats() else { return Vec::new() };
    let counter = |name, help, value| Family::counter(name, help, float(value));
    let gauge = |name, help, value: u64| Family::gauge(name, help, float(value));
    vec![
        counter("lentic_log_gathers_count", "Writes to the log, each with its fdatasync.", stats.gathers),
        counter("lentic_log_written_bytes", "Bytes written to the log, with frames and padding.", stats.written_bytes),
        counter("lentic_log_entries_count", "Entries written to the log.", stats.entries),
        counter("lentic_log_segments_begun_count", "Segment files begun.", stats.rolls),
        counter("lentic_log_segments_released_count", "Segment files given back.", stats.released),
        counter("lentic_log_cache_hits_count", "Entries that a read found in memory.", stats.cache_hits),
        counter("lentic_log_cache_misses_count", "Entries that a read fetched from a file.", stats.cache_misses),
        gauge("lentic_log_cache_bytes", "Memory of entries that may be read again.", stats.cache_bytes as u64),
        gauge(
            "lentic_log_queue_bytes",
            "Bytes that wait for the disk or are on their way to it.",
            stats.queue_bytes as u64,
        ),
        gauge("lentic_log_segments_count", "Segment files that hold what some group needs.", stats.segments as u64),
        gauge("lentic_log_segments_bytes", "Bytes of those files, counted against log.bytes_max.", stats.segment_bytes),
        Family::histogram(
            "lentic_log_sync_micros",
            "Microseconds of each fdatasync.",
            distribution(&stats.sync_micros),
        ),
        Family::histogram(
            "lentic_log_gather_entries",
            "Entries that share a write and its fdatasync.",
            distribution(&stats.gather_entries),
        ),
    ]
}

/// Bucket n holds what is below 2^n; the last holds everything larger, too, and so has no bound.
fn distribution(histogram: &lentic_log::Histogram) -> Histogram {
    let mut below = 0;
    let bounded = &histogram.buckets[..histogram.buckets.len() - 1];
    let buckets = bounded.iter().enumerate().map(|(power, count)| {
        below += count;
        (float((1 << power) - 1), below)
    });
    let buckets = buckets.collect();
    Histogram { buckets, sum: float(histogram.sum), count: histogram.count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_the_last_has_no_bound() {
        let mut log = lentic_log::Histogram { sum: 1_000, ..lentic_log::Histogram::default() };
        (log.buckets[0], log.buckets[1], log.buckets[3], log.buckets[27]) = (1, 2, 3, 4);
        let found = distribution(&log);
        assert_eq!(found.buckets[..4], [(0.0, 1), (1.0, 3), (3.0, 3), (7.0, 6)]);
        assert_eq!((found.buckets.len(), found.buckets[26].1, found.count), (27, 6, 10));
    }

    #[test]
    fn a_node_that_is_not_there_is_not_ready_and_not_ill() {
        let observer = Observer::default();
        assert_eq!((observer.faults().len(), observer.not_ready().len()), (0, 1));
        assert!(observer.metrics().iter().any(|family| family.name == "lentic_serve_not_ready_count"));
        observer.is_stopping();
        assert_eq!(observer.not_ready(), ["the node is stopping"]);
    }
}
