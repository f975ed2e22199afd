//! The figures of a bench, as they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::caller::Work;
use super::measured::{Figures, Kind};
use super::plan::Plan;
use crate::output::{Align, Answer, Table};
use crate::text::{count, per_second, rate};

/// The figures of a bench.
#[derive(Serialize)]
pub(super) struct Report {
    workload: &'static str,
    table: String,
    callers: u32,
    /// How long was measured, without the warm-up.
    seconds: f64,
    /// Operations a second that were asked for; `null` for callers that wait for their last answer.
    rate: Option<f64>,
    value_bytes: u32,
    keys: u64,
    batch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_fraction: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    put: Option<Latencies>,
    #[serde(skip_serializing_if = "Option::is_none")]
    get: Option<Latencies>,
}

/// The figures of one kind of operations.
#[derive(Serialize)]
struct Latencies {
    operations: u64,
    operations_per_second: f64,
    keys_per_second: f64,
    mean_us: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    /// Keys that were read and had no value.
    absent: u64,
    /// Errors by their kind.
    errors: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Report {
    pub(super) fn new(workload: &'static str, plan: &Plan, read_fraction: f64, work: &Work, took: Duration) -> Self {
        let figures = |kind| Latencies::new(work.measured.figures(kind), took, plan.batch);
        Self {
            workload,
            table: plan.table.clone(),
            callers: plan.callers,
            seconds: took.as_secs_f64(),
            rate: plan.rate,
            value_bytes: plan.value_bytes,
            keys: work.keys.len(),
            batch: plan.batch,
            read_fraction: (workload == "mixed").then_some(read_fraction),
            put: (read_fraction < 1.0).then(|| figures(Kind::Put)),
            get: (read_fraction > 0.0).then(|| figures(Kind::Get)),
        }
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, &Latencies)> {
        let kinds = [("put", &self.put), ("get", &self.get)].into_iter();
        kinds.filter_map(|(name, latencies)| latencies.as_ref().map(|latencies| (name, latencies)))
    }

    /// How many operations failed.
    pub(super) fn failed(&self) -> u64 {
        self.kinds().map(|(_, latencies)| latencies.failed()).sum()
    }
}

impl Latencies {
    fn new(figures: Figures, took: Duration, batch: u64) -> Self {
        let latencies = &figures.latencies_us;
        let (operations, seconds) = (latencies.len(), took.as_secs_f64());
        Self {
            operations,
            operations_per_second: per_second(operations, seconds),
            keys_per_second: per_second(operations.saturating_mul(batch), seconds),
            mean_us: latencies.mean(),
            p50_us: latencies.value_at_quantile(0.5),
            p90_us: latencies.value_at_quantile(0.9),
            p99_us: latencies.value_at_quantile(0.99),
            p999_us: latencies.value_at_quantile(0.999),
            max_us: latencies.max(),
            absent: figures.absent,
            errors: figures.errors,
            error: figures.example,
        }
    }

    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Microseconds as milliseconds with three digits after the point.
fn ms(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

impl Answer for Report {
    fn human(&self) -> String {
        let Self { workload, table, callers, seconds, value_bytes, keys, batch, .. } = self;
        let loop_ = match self.rate {
            Some(rate) => format!("{rate} operations a second asked for"),
            None => "each as soon as its last is done".to_owned(),
        };
        let keys = count(*keys);
        let batch = if *batch > 1 { format!(", {batch} keys an operation") } else { String::new() };
        let head = format!(
            "{workload} on {table}: {callers} callers, {loop_}, {seconds:.1} s, {keys} keys, values of {value_bytes} bytes{batch}\n"
        );
        let mut figures = Table::new(&[
            ("MS", Align::Left),
            ("OPS/S", Align::Right),
            ("KEYS/S", Align::Right),
            ("P50", Align::Right),
            ("P90", Align::Right),
            ("P99", Align::Right),
            ("P99.9", Align::Right),
            ("MAX", Align::Right),
            ("OPS", Align::Right),
            ("ABSENT", Align::Right),
            ("ERRORS", Align::Right),
        ]);
        let mut notes = String::new();
        for (name, it) in self.kinds() {
            let per_second = |keys_each: u64| rate(it.operations.saturating_mul(keys_each), *seconds);
            let mut cells = vec![name.to_owned(), per_second(1), per_second(self.batch)];
            cells.extend([it.p50_us, it.p90_us, it.p99_us, it.p999_us, it.max_us].map(ms));
            cells.extend([it.operations, it.absent, it.failed()].map(count));
            figures.push(cells);
            let errors: Vec<String> =
                it.errors.iter().map(|(kind, times)| format!("{kind} {}", count(*times))).collect();
            if let Some(error) = &it.error {
                notes += &format!("errors of {name}: {}; one of them: {error}\n", errors.join(", "));
            }
            if name == "get" && it.absent > 0 {
                notes += "keys without a value are cheaper to get; put all of them first with --fill\n";
            }
        }
        head + &figures.rendered() + &notes
    }

    /// A line for each kind: name, operations, errors, absent, operations a second, keys a second, and in microseconds
    /// mean, p50, p90, p99, p99.9, max.
    fn plain(&self) -> Vec<Vec<String>> {
        let line = |(name, it): (&str, &Latencies)| {
            let mut line = vec![name.to_owned()];
            line.extend([it.operations, it.failed(), it.absent].map(|count| count.to_string()));
            line.extend(
                [it.operations_per_second, it.keys_per_second, it.mean_us].map(|number| format!("{number:.1}")),
            );
            line.extend([it.p50_us, it.p90_us, it.p99_us, it.p999_us, it.max_us].map(|us| us.to_string()));
            line
        };
        self.kinds().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measured::Measured;
    use crate::output::shapes_of;

    fn latencies(errors: bool) -> Latencies {
        let measured = Measured::new();
        (1..=1_000).for_each(|us| measured.add(0, Kind::Get, Some(Duration::from_micros(us)), &Ok(0)));
        let mut figures = measured.figures(Kind::Get);
        if errors {
            (figures.absent, figures.example) = (4, Some("too much to do".to_owned()));
            figures.errors.insert("throttled", 3);
        }
        Latencies::new(figures, Duration::from_millis(500), 10)
    }

    fn report() -> Report {
        Report {
            workload: "mixed",
            table: "t".to_owned(),
            callers: 2,
            seconds: 0.5,
            rate: None,
            value_bytes: 256,
            keys: 1_000,
            batch: 10,
            read_fraction: Some(0.5),
            put: Some(latencies(false)),
            get: Some(latencies(true)),
        }
    }

    #[test]
    fn figures_have_a_shape_in_each_format() {
        let [human, plain, json] = shapes_of(&report());
        assert_eq!(
            human,
            "mixed on t: 2 callers, each as soon as its last is done, 0.5 s, 1,000 keys, values of 256 bytes, 10 keys an \
             operation\n\
             MS   OPS/S  KEYS/S    P50    P90    P99  P99.9    MAX    OPS  ABSENT  ERRORS\n\
             put  2,000  20,000  0.500  0.900  0.990  0.999  1.000  1,000       0       0\n\
             get  2,000  20,000  0.500  0.900  0.990  0.999  1.000  1,000       4       3\n\
             errors of get: throttled 3; one of them: too much to do\n\
             keys without a value are cheaper to get; put all of them first with --fill\n"
        );
        assert_eq!(
            plain,
            "put\t1000\t0\t0\t2000.0\t20000.0\t500.5\t500\t900\t990\t999\t1000\n\
             get\t1000\t3\t4\t2000.0\t20000.0\t500.5\t500\t900\t990\t999\t1000\n"
        );
        let put = "{\"operations\":1000,\"operations_per_second\":2000.0,\"keys_per_second\":20000.0,\"mean_us\":500.5,\
                   \"p50_us\":500,\"p90_us\":900,\"p99_us\":990,\"p999_us\":999,\"max_us\":1000,\"absent\":0,\"errors\":{}}";
        let get = put.replace(
            "\"absent\":0,\"errors\":{}",
            "\"absent\":4,\"errors\":{\"throttled\":3},\"error\":\"too much to do\"",
        );
        assert_eq!(
            json,
            format!(
                "{{\"workload\":\"mixed\",\"table\":\"t\",\"callers\":2,\"seconds\":0.5,\"rate\":null,\"value_bytes\":256,\
                 \"keys\":1000,\"batch\":10,\"read_fraction\":0.5,\"put\":{put},\"get\":{get}}}\n"
            )
        );
        assert_eq!(report().failed(), 3);
    }
}
