//! What a bench does.

use clap::Args;
use lentic_types::limits::{OPERATIONS_MAX, SHARDS_PER_TABLE_MAX, VALUE_BYTES_MAX};

use crate::failure::Failure;
use crate::text::Span;

/// Most callers. Each is a task with one operation at a time.
const CALLERS_MAX: i64 = 100_000;

/// What a bench does.
#[derive(Clone, Debug, Args)]
pub(super) struct Plan {
    /// The table. Its keys are 8 bytes, spread evenly: shards of equal size share the load
    #[arg(long, value_name = "NAME")]
    pub(super) table: String,
    /// Create the table with so many shards, if it is not there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=SHARDS_PER_TABLE_MAX as i64))]
    pub(super) shards: Option<u32>,
    /// How many callers there are, each with one operation at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=CALLERS_MAX))]
    pub(super) callers: u32,
    /// For how long to measure
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub(super) seconds: f64,
    /// How long to run before that
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    pub(super) warm_up: Span,
    /// The size of values
    #[arg(long, value_name = "B", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=VALUE_BYTES_MAX as i64))]
    pub(super) value_bytes: u32,
    /// Over how many keys to go, drawn at random
    #[arg(long, value_name = "K", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(super) keys: u64,
    /// How many keys of one shard an operation reads or writes together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=OPERATIONS_MAX as u64))]
    pub(super) batch: u64,
    /// Begin so many operations a second, whether earlier ones are done or not; their latency counts from when they
    /// should have begun
    #[arg(long, value_name = "R")]
    pub(super) rate: Option<f64>,
    /// How long a put may wait for others of its shard, to go as one request
    #[arg(long, value_name = "SPAN", default_value = "0s")]
    pub(super) linger: Span,
    /// Put all keys first
    #[arg(long)]
    pub(super) fill: bool,
    /// What the random numbers begin with
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

impl Plan {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if !(0.1..=86_400.0).contains(&self.seconds) {
            return Err(Failure::usage(format!("--seconds is {}, expected 0.1 to 86400", self.seconds)));
        }
        if self.rate.is_some_and(|rate| !(0.01..=10_000_000.0).contains(&rate)) {
            return Err(Failure::usage("--rate is out of its bounds, expected 0.01 to 10000000 operations a second"));
        }
        Ok(())
    }
}
