//! Figures in the text format of Prometheus.

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use super::probe::{Family, Histogram, Sample, Samples};

/// The content type of [`text`].
pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The families as text, and what the operating system says of the process.
pub(super) fn text_with_process(families: &[Family]) -> Result<Vec<u8>, String> {
    let mut out = text(families)?;
    encode(&ProcessCollector::for_self().collect(), &mut out)?;
    Ok(out)
}

/// The families as text. Those without values are left out: the format has no way to say so.
fn text(families: &[Family]) -> Result<Vec<u8>, String> {
    let families: Vec<_> = families.iter().map(family).filter(|family| !family.get_metric().is_empty()).collect();
    let mut out = Vec::new();
    encode(&families, &mut out)?;
    Ok(out)
}

fn encode(families: &[MetricFamily], out: &mut Vec<u8>) -> Result<(), String> {
    TextEncoder::new().encode(families, out).map_err(|error| error.to_string())
}

fn family(family: &Family) -> MetricFamily {
    let (kind, metrics) = match &family.samples {
        Samples::Counter(samples) => (MetricType::COUNTER, metrics(samples, counter)),
        Samples::Gauge(samples) => (MetricType::GAUGE, metrics(samples, gauge)),
        Samples::Histogram(samples) => (MetricType::HISTOGRAM, metrics(samples, histogram)),
    };
    let mut out = MetricFamily::default();
    out.set_name(family.name.clone());
    out.set_help(family.help.clone());
    out.set_field_type(kind);
    out.set_metric(metrics);
    out
}

fn metrics<T>(samples: &[Sample<T>], set: fn(&mut Metric, &T)) -> Vec<Metric> {
    let metric = |sample: &Sample<T>| {
        let label = |(name, value): &(String, String)| {
            let mut label = LabelPair::default();
            label.set_name(name.clone());
            label.set_value(value.clone());
            label
        };
        let mut metric = Metric::from_label(sample.labels.iter().map(label).collect());
        set(&mut metric, &sample.value);
        metric
    };
    samples.iter().map(metric).collect()
}

fn counter(metric: &mut Metric, value: &f64) {
    let mut counter = Counter::default();
    counter.set_value(*value);
    metric.set_counter(counter);
}

fn gauge(metric: &mut Metric, value: &f64) {
    let mut gauge = Gauge::default();
    gauge.set_value(*value);
    metric.set_gauge(gauge);
}

fn histogram(metric: &mut Metric, value: &Histogram) {
    let bucket = |(bound, count): &(f64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(*count);
        bucket
    };
    let mut histogram = prometheus::proto::Histogram::default();
    histogram.set_bucket(value.buckets.iter().map(bucket).collect());
    histogram.set_sample_sum(value.sum);
    histogram.set_sample_count(value.count);
    metric.set_histogram(histogram);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_text() {
        let labels = vec![("shard".to_owned(), "a \"b\"\\\n".to_owned()), ("kind".to_owned(), "put".to_owned())];
        let families = [
            Family::counter("lentic_a_count", "Things that happened.", 7.0),
            Family {
                name: "lentic_b_bytes".into(),
                help: "Bytes\nnow.".into(),
                samples: Samples::Gauge(vec![Sample { labels, value: 1.5 }, Sample::plain(f64::from(1u32 << 31))]),
            },
            Family { name: "lentic_none".into(), help: "None.".into(), samples: Samples::Gauge(vec![]) },
            Family::histogram(
                "lentic_c_seconds",
                "How long.",
                Histogram { buckets: vec![(0.001, 2), (0.01, 5)], sum: 1.25, count: 6 },
            ),
        ];
        let expected = "\
# HELP lentic_a_count Things that happened.
# TYPE lentic_a_count counter
lentic_a_count 7
# HELP lentic_b_bytes Bytes\\nnow.
# TYPE lentic_b_bytes gauge
lentic_b_bytes{shard=\"a \\\"b\\\"\\\\\\n\",kind=\"put\"} 1.5
lentic_b_bytes 2147483648
# HELP lentic_c_seconds How long.
# TYPE lentic_c_seconds histogram
lentic_c_seconds_bucket{le=\"0.001\"} 2
lentic_c_seconds_bucket{le=\"0.01\"} 5
lentic_c_seconds_bucket{le=\"+Inf\"} 6
lentic_c_seconds_sum 1.25
lentic_c_seconds_count 6
";
        assert_eq!(String::from_utf8(text(&families).unwrap()).unwrap(), expected);
        assert_eq!(text(&[]), Ok(Vec::new()));
    }

    #[test]
    fn the_process_is_told_of() {
        let text = String::from_utf8(text_with_process(&[]).unwrap()).unwrap();
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            assert!(text.contains(&format!("\n{name} ")), "{text}");
        }
    }
}
