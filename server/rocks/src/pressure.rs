//! When to let less in.
//!
//! RocksDB slows its writers by letting them sleep in `write`, and stops them the same way: by then the thread that
//! applies entries of all groups stands still. So we say [`Slow`](Pressure::Slow) some way before it does, and the
//! proposers take less in while apply still runs.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use lentic_engine::{Family, Pressure};
use rocksdb::properties::{
    ACTUAL_DELAYED_WRITE_RATE, ESTIMATE_PENDING_COMPACTION_BYTES, IS_WRITE_STOPPED, NUM_IMMUTABLE_MEM_TABLE,
    num_files_at_level,
};

use crate::options::StoreOptions;
use crate::store::RocksStore;
use crate::tuning::MEMTABLES_MAX;

/// RocksDB is asked at every so many calls: it takes its big lock for the answer, some microseconds in all.
const CALLS_PER_QUESTION: u32 = 16;

/// The last answer, and when to ask again.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    calls: AtomicU32,
    last: AtomicU8,
}

impl Gauge {
    /// The pressure, asked at every [`CALLS_PER_QUESTION`]th call, and at each call while there is any: who waits for
    /// the end of it must not wait for others' calls.
    pub(crate) fn read(&self, ask: impl FnOnce() -> Pressure) -> Pressure {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let last = self.last.load(Ordering::Relaxed);
        if last == Pressure::None as u8 && !calls.is_multiple_of(CALLS_PER_QUESTION) {
            return Pressure::None;
        }
        let pressure = ask();
        self.last.store(pressure as u8, Ordering::Relaxed);
        pressure
    }
}

/// What RocksDB says of itself; of the families, the worst.
#[derive(Clone, Debug, Default)]
struct Signals {
    is_stopped: bool,
    delayed_write_bytes_per_second: u64,
    level_zero_files: u64,
    pending_compaction_bytes: u64,
    /// Full memtables of one family, waiting for their flush.
    full_memtables: u64,
    memtables_bytes: u64,
}

impl Signals {
    fn judge(&self, options: &StoreOptions) -> Pressure {
        let memtables_bytes_max = options.memtables_bytes_max as u64;
        let stops = self.is_stopped
            || self.level_zero_files >= u64::from(options.level_zero_files_stop)
            || self.pending_compaction_bytes >= options.pending_compaction_bytes_stop as u64
            || self.full_memtables >= u64::from(MEMTABLES_MAX) - 1
            // The budget starts flushes and stops nobody, so a slow disk could take all memory.
            || self.memtables_bytes >= 2 * memtables_bytes_max;
        let early = |at: u64| at / 4 * 3;
        let slows = self.delayed_write_bytes_per_second > 0
            || self.level_zero_files >= early(options.level_zero_files_slow.into())
            || self.pending_compaction_bytes >= early(options.pending_compaction_bytes_slow as u64)
            || self.full_memtables >= u64::from(MEMTABLES_MAX) - 2
            || self.memtables_bytes >= memtables_bytes_max;
        match (stops, slows) {
            (true, _) => Pressure::Stop,
            (false, true) => Pressure::Slow,
            (false, false) => Pressure::None,
        }
    }
}

impl RocksStore {
    pub(crate) fn ask_pressure(&self) -> Pressure {
        // A property that RocksDB does not know or cannot tell now adds no pressure.
        let whole = |name| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        let worst = |name| Family::ALL.map(|family| self.family_property(family, name)).into_iter().max().unwrap_or(0);
        let signals = Signals {
            is_stopped: whole(IS_WRITE_STOPPED) > 0,
            delayed_write_bytes_per_second: whole(ACTUAL_DELAYED_WRITE_RATE),
            level_zero_files: Family::ALL.map(|family| self.level_zero_files(family)).into_iter().max().unwrap_or(0),
            pending_compaction_bytes: worst(ESTIMATE_PENDING_COMPACTION_BYTES),
            full_memtables: worst(NUM_IMMUTABLE_MEM_TABLE),
            memtables_bytes: self.memtable_bytes() as u64,
        };
        signals.judge(&self.options)
    }

    pub(crate) fn family_property(&self, family: Family, name: &rocksdb::properties::PropName) -> u64 {
        self.db.property_int_value_cf(self.handle(family), name).ok().flatten().unwrap_or(0)
    }

    /// A number that RocksDB gives as text only.
    pub(crate) fn level_zero_files(&self, family: Family) -> u64 {
        let text = self.db.property_value_cf(self.handle(family), &*num_files_at_level(0)).ok().flatten();
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_slows_before_it_stops() {
        let options = StoreOptions::default();
        let none = Signals::default();
        assert_eq!(none.judge(&options), Pressure::None);
        let rows: [(Signals, Pressure); 9] = [
            (Signals { delayed_write_bytes_per_second: 1, ..none.clone() }, Pressure::Slow),
            (Signals { is_stopped: true, ..none.clone() }, Pressure::Stop),
            (Signals { level_zero_files: 14, ..none.clone() }, Pressure::None),
            (Signals { level_zero_files: 15, ..none.clone() }, Pressure::Slow),
            (Signals { level_zero_files: 36, ..none.clone() }, Pressure::Stop),
            (Signals { pending_compaction_bytes: 48 << 30, ..none.clone() }, Pressure::Slow),
            (Signals { full_memtables: 4, ..none.clone() }, Pressure::Slow),
            (Signals { memtables_bytes: 256 << 20, ..none.clone() }, Pressure::Slow),
            (Signals { memtables_bytes: 512 << 20, ..none }, Pressure::Stop),
        ];
        for (signals, expected) in rows {
            assert_eq!(signals.judge(&options), expected, "{signals:?}");
        }
    }

    #[test]
    fn rocksdb_is_asked_now_and_then_and_always_under_pressure() {
        let gauge = Gauge::default();
        let mut questions = 0;
        for _ in 0..3 * CALLS_PER_QUESTION {
            gauge.read(|| {
                questions += 1;
                Pressure::None
            });
        }
        assert_eq!(questions, 3);
        assert_eq!(gauge.read(|| Pressure::Slow), Pressure::Slow);
        assert_eq!(gauge.read(|| Pressure::Stop), Pressure::Stop);
        assert_eq!(gauge.read(|| Pressure::None), Pressure::None);
        assert_eq!(gauge.read(|| Pressure::Stop), Pressure::None, "the next question is some calls away");
    }
}
