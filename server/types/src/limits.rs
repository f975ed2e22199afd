//! Every limit of the data path, in one place, with the relations between them checked at compile time.
//!
//! The constants are the ceilings of the format: no configuration may go above them. A node's configuration may go
//! below, through [`Limits`].

/// Largest key in bytes. Escaped into a store key it stays well below RocksDB's practical key size.
pub const KEY_BYTES_MAX: usize = 16 << 10;
/// Largest value in bytes, also of what merges have grown.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// Largest request in bytes, encoded.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Most operations in one request.
pub const OPERATIONS_MAX: usize = 100_000;
/// Most conditions in one request.
pub const CONDITIONS_MAX: usize = 100_000;
/// Most ranges in one request whose reads are validated; in a transaction those that it deletes count, too.
pub const RANGES_MAX: usize = 1_000;
/// Most keys of a transaction, those that it reads among them.
pub const TXN_KEYS_MAX: usize = 100_000;
/// Largest transaction in bytes, encoded.
pub const TXN_BYTES_MAX: usize = REQUEST_BYTES_MAX;
/// Most parts of a transaction: tables, or owned ranges with tokens of their own.
pub const TXN_PARTS_MAX: usize = 1_000;
/// Most shards that one transaction commits on.
pub const TXN_SHARDS_MAX: usize = 1_000;
/// How long after a prepare its locks are taken for those of a dead coordinator, in milliseconds. A live one
/// is done in a few rounds of consensus; it may take as long as an election.
pub const PREPARE_MS_MAX: u64 = 2_000;
/// How far in the future of its stamp a prepare may still come, in milliseconds of version time. For so long shards keep
/// in mind which transactions have ended there; a prepare that comes later is refused for its age.
pub const TXN_MS_MAX: u64 = 6_000;
/// Most keys and ranges that are locked in a shard at a time. A prepare beyond it is asked to come again.
pub const LOCKS_MAX: usize = 400_000;
/// Most ranges that are held in a shard at a time, for each write looks at all of them.
pub const HELD_RANGES_MAX: usize = 2_000;
/// Most bytes of keys and values that wait in a shard's locks. A prepare beyond it is asked to come again, unless it is
/// alone.
pub const LOCKED_BYTES_MAX: usize = 128 << 20;
/// Most ended transactions that a shard keeps in mind. Beyond it those go first of which a prepare can come for the
/// shortest time, and from then on prepares of that time are refused.
pub const ENDED_MAX: usize = 20_000;
/// Most records, over all ranges of a transaction in a shard, that its leader looks at before it takes the transaction: their
/// validation looks at as many. Deleted keys and old versions count until they are collected.
pub const VALIDATED_RECORDS_MAX: u64 = 250_000;
/// Largest log entry in bytes: one request of the largest size, or many small ones, and their frame.
pub const ENTRY_BYTES_MAX: usize = REQUEST_BYTES_MAX + (1 << 20);
/// Most live keys that one delete-range may delete; a larger one is refused and can be continued in parts.
pub const DELETE_RANGE_KEYS_MAX: u32 = 10_000;
/// How deep branches go: a branch of a branch counts two. A read of a key looks at so many tables more at most.
pub const BRANCH_DEPTH_MAX: usize = 8;
/// Most branches of a table, those of its branches among them: each is a shard more in each of the table's groups.
pub const BRANCHES_MAX: usize = 64;
/// Of how many branches that are gone a group keeps in mind that they are.
pub const GONE_BRANCHES_MAX: usize = 256;
/// Longest chain of merge operands above a full value; the write that would exceed it stores a full value instead.
pub const OPERAND_DEPTH_MAX: u8 = 16;
/// Most records of a delete-range, over all delete-ranges of a request, that its leader looks at before it takes the
/// request: deleted keys and old versions count until they are collected. It bounds the time that a request holds a shard.
pub const DELETE_RANGE_RECORDS_MAX: u64 = 250_000;
/// Most bytes of values that one multi-get answers with; a single value may always be had.
pub const MULTI_GET_BYTES_MAX: usize = 32 << 20;
/// Most rows of one page of a scan.
pub const SCAN_ROWS_MAX: usize = 100_000;
/// Most bytes (keys and values) of one page of a scan; one row may exceed it, so that a scan always moves.
pub const SCAN_BYTES_MAX: usize = 16 << 20;
/// Most store records that one page of a scan steps over before it returns with a resume key.
pub const SCAN_STEPS_MAX: u64 = 1_000_000;
/// Most events of one page of a feed.
pub const FEED_EVENTS_MAX: usize = 100_000;
/// Most bytes (keys and values) of one page of a feed; one event may exceed it, so that a feed always moves.
pub const FEED_BYTES_MAX: usize = 16 << 20;
/// Longest that a feed waits at a node for something to happen, in milliseconds.
pub const FEED_WAIT_MS_MAX: u32 = 5_000;
/// Bytes of the newest changes of a shard that are noted while somebody follows them: versions and keys, no values. Who is
/// further behind has older changes looked for.
pub const FEED_RECENT_BYTES_MAX: usize = 4 << 20;
/// Bytes that looking for older changes may keep: versions and keys, no values. The more, the fewer walks over the range.
pub const FEED_WINDOW_BYTES_MAX: usize = 8 << 20;
/// Most walks of a node for older changes whose findings are kept; beyond it those who come are asked to come again.
pub const FEED_WINDOWS_MAX: usize = 8;
/// Longest that a table lets values live by itself, in milliseconds: 100 years.
pub const TTL_MS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
/// Most masks of one shard; a rollback above is refused until the watermark has passed some that nobody uses any more.
pub const MASKS_MAX: usize = 4_096;
/// Most owned ranges of one shard.
pub const FENCES_MAX: usize = 4_096;
/// Most ranges that go back with one taking of a range: as many tasks may become one.
pub const BACK_RANGES_MAX: usize = 1_024;
/// Longest name of an owner in bytes.
pub const OWNER_BYTES_MAX: usize = 256;
/// Answers kept per client for idempotent retries. A client keeps its newest sequence less than this above what it has
/// acknowledged: one request that is stuck holds back all above it.
pub const ANSWERS_PER_CLIENT_MAX: usize = 1_024;
/// Answers kept per shard, over all clients. The oldest go first, and what is forgotten is refused, never repeated.
pub const ANSWERS_PER_SHARD_MAX: usize = 65_536;
/// Answers of a shard that are in the store, those among them that have gone and share a page with one that has not.
/// Beyond it what is left of the oldest page is written again.
pub const ANSWERS_LISTED_MAX: usize = 262_144;
/// How long an answer is kept at least while the two counts above allow it, in milliseconds of its shard's age.
pub const ANSWER_MS_MIN: u64 = 15 * 60 * 1000;
/// By how much a shard gets older from one request to the next at most, in milliseconds: a leap of version time makes no
/// answer old.
pub const ANSWER_STEP_MS_MAX: u64 = 1_000;
/// Most nodes of a cluster, those that are gone for good among them.
pub const NODES_MAX: usize = 1_000;
/// Most tables of a cluster.
pub const TABLES_MAX: usize = 10_000;
/// Most shards of a cluster.
pub const SHARDS_MAX: usize = 100_000;
/// Most shards that a table can begin with. Shards are meant to be few and large: each costs a group on its nodes.
pub const SHARDS_PER_TABLE_MAX: usize = 1_024;
/// Most replicas of a shard. Each one more is one more copy to write.
pub const REPLICAS_MAX: usize = 9;
/// Longest part of a table's name in bytes: the namespace, or what follows it.
pub const NAME_PART_BYTES_MAX: usize = 64;
/// Longest address of a node in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Most bytes of all split points of a new table together.
pub const SPLIT_POINTS_BYTES_MAX: usize = 256 << 10;
/// Largest catalog in bytes, encoded. Each node holds it in memory and is sent it whole when it falls behind.
pub const CATALOG_BYTES_MAX: usize = 16 << 20;
/// Most pins of a cluster: snapshots, and checkpoints of jobs.
pub const PINS_MAX: usize = 10_000;
/// Most pins of one table. Its shards keep their versions in mind, and GC looks at all of them for each key.
pub const PINS_PER_TABLE_MAX: usize = 1_000;
/// Most bytes of all pins of a cluster, encoded.
pub const PINS_BYTES_MAX: usize = 16 << 20;
/// Most tables, or ranges of tables, of one pin.
pub const PIN_SPANS_MAX: usize = 100;
/// Longest name of a snapshot, or of another pin, in bytes.
pub const PIN_NAME_BYTES_MAX: usize = 128;
/// Longest lease of a pin in milliseconds: ten years. A pin without a lease is kept until it is released.
pub const PIN_LEASE_MS_MAX: u64 = 3_653 * 24 * 60 * 60 * 1000;
/// Most client ids issued in one block.
pub const CLIENTS_PER_BLOCK_MAX: u32 = 65_536;
/// Most ticks that the oracle hands out at once.
pub const TICKS_PER_TAKE_MAX: u32 = 65_536;
/// How far ahead of the clock the oracle asks for its window to end, in milliseconds. A new leader begins at the window's
/// end, so after a fail-over versions are ahead of the clock by up to this.
pub const WINDOW_MS: u64 = 3_000;
/// How far beyond its ticks the oracle asks for its window to end while they are ahead of the clock, in milliseconds of
/// 16,384 ticks each. Many fail-overs in a row take versions ahead by this each.
pub const WINDOW_STEP_MS: u64 = 100;
/// How long the oracle lets an unused window fall behind the clock, in milliseconds. The end of the window tells a new
/// leader what time it was.
pub const WINDOW_IDLE_MS: u64 = 60 * 60 * 1000;
/// How far one extension may raise the end of the oracle's window, in milliseconds. A cluster that was stopped
/// for longer, and a clock that is wrong by more, take a person: `CLOCK_MS_MIN` has the exception.
pub const WINDOW_LEAP_MS_MAX: u64 = 400 * 24 * 60 * 60 * 1000;
/// How far the clock of a leading oracle may leap ahead and be followed at once, in milliseconds.
pub const CLOCK_LEAP_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// How long a clock that has leapt further must go on before it is followed, in milliseconds: the time for a person to set
/// it right.
pub const CLOCK_DOUBT_MS: u64 = 10 * 60 * 1000;
/// The earliest time that a right clock can show, in milliseconds since 2020: the beginning of 2026. A version before it
/// comes from a clock that was never set, so any leap away from there is followed, up to `CLOCK_MS_MAX`.
pub const CLOCK_MS_MIN: u64 = 2_192 * 24 * 60 * 60 * 1000;
/// The latest time that is believed of the first clock of a cluster, in milliseconds since 2020: the end of 2099.
pub const CLOCK_MS_MAX: u64 = 29_220 * 24 * 60 * 60 * 1000;

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX < REQUEST_BYTES_MAX, "one key with its value fits a request");
const _: () = assert!(REQUEST_BYTES_MAX < ENTRY_BYTES_MAX, "one request with its frame fits an entry");
const _: () = assert!(ENTRY_BYTES_MAX < u32::MAX as usize, "an entry's length fits the log's frame");
const _: () = assert!(VALUE_BYTES_MAX <= SCAN_BYTES_MAX, "a page holds the largest value");
const _: () =
    assert!(SCAN_BYTES_MAX + 2 * VALUE_BYTES_MAX < REQUEST_BYTES_MAX, "a page of differences fits a frame of a pipe");
const _: () = assert!(VALUE_BYTES_MAX <= FEED_BYTES_MAX, "a page of a feed holds the largest value");
const _: () = assert!(FEED_BYTES_MAX + VALUE_BYTES_MAX < REQUEST_BYTES_MAX, "a page of a feed fits a frame of a pipe");
const _: () = assert!(DELETE_RANGE_KEYS_MAX as usize <= OPERATIONS_MAX, "a delete-range is no larger than a request");
const _: () = assert!(DELETE_RANGE_KEYS_MAX as u64 <= DELETE_RANGE_RECORDS_MAX, "keys with one version fit");
const _: () = assert!(VALUE_BYTES_MAX <= MULTI_GET_BYTES_MAX, "a multi-get answers with the largest value");
const _: () = assert!(MULTI_GET_BYTES_MAX + KEY_BYTES_MAX < REQUEST_BYTES_MAX, "an answer fits a frame of a pipe");
const _: () = assert!(SCAN_ROWS_MAX as u64 <= SCAN_STEPS_MAX, "a page of live rows ends by rows, not by steps");
const _: () =
    assert!(ANSWERS_PER_CLIENT_MAX <= ANSWERS_PER_SHARD_MAX, "one client never fills a shard's answers alone");
const _: () = assert!(ANSWERS_PER_SHARD_MAX * 2 <= ANSWERS_LISTED_MAX, "moving answers makes room");
const _: () = assert!(ANSWER_STEP_MS_MAX * 100 <= ANSWER_MS_MIN, "a hundred leaps take no answer");
const _: () =
    assert!(PREPARE_MS_MAX * 2 <= TXN_MS_MAX, "a prepare that waits has time for a recovery before it is too old");
const _: () = assert!(RANGES_MAX <= HELD_RANGES_MAX, "the most ranges of one transaction can be held");
const _: () = assert!(TXN_KEYS_MAX + RANGES_MAX <= LOCKS_MAX, "the largest transaction fits a shard's locks");
const _: () = assert!(TXN_BYTES_MAX <= LOCKED_BYTES_MAX, "the largest transaction fits a shard's locks");
const _: () = assert!(TXN_BYTES_MAX < ENTRY_BYTES_MAX, "a transaction of one shard fits an entry");
const _: () = assert!(OPERAND_DEPTH_MAX >= 2, "an operand chain exists");
const _: () = assert!(SHARDS_PER_TABLE_MAX <= SHARDS_MAX, "a table of the most shards fits a cluster");
const _: () = assert!(SHARDS_PER_TABLE_MAX <= 1 << 16, "two bytes of a key tell the first shards of a table apart");
const _: () = assert!(TABLES_MAX <= SHARDS_MAX, "each table has a shard");
const _: () = assert!(REPLICAS_MAX <= NODES_MAX, "the replicas of a shard are on nodes of their own");
const _: () = assert!(KEY_BYTES_MAX <= SPLIT_POINTS_BYTES_MAX, "any key can be a split point");
const _: () = assert!(
    NODES_MAX * 2 * ADDRESS_BYTES_MAX + TABLES_MAX * 2 * NAME_PART_BYTES_MAX + SHARDS_MAX * 64 <= CATALOG_BYTES_MAX,
    "a catalog holds all nodes, tables and shards with split points of a usual length"
);
const _: () = assert!(8 * SPLIT_POINTS_BYTES_MAX <= CATALOG_BYTES_MAX, "no table fills the catalog alone");
const _: () = assert!(CATALOG_BYTES_MAX <= REQUEST_BYTES_MAX, "a catalog is sent as a request is");
const _: () = assert!(BRANCH_DEPTH_MAX <= BRANCHES_MAX, "a table can have the deepest branches");
const _: () = assert!(BRANCHES_MAX <= PINS_PER_TABLE_MAX, "each branch of a table has a pin of it");
const _: () = assert!(BRANCHES_MAX <= GONE_BRANCHES_MAX, "all branches of a table can be dropped at once");
const _: () = assert!(PINS_PER_TABLE_MAX <= PINS_MAX, "the pins of one table fit a cluster");
const _: () = assert!(
    PINS_MAX * (PIN_NAME_BYTES_MAX + OWNER_BYTES_MAX + 64 + 16 * 16) <= PINS_BYTES_MAX / 2,
    "all pins fit, with some tables or short ranges each"
);
const _: () = assert!(
    PIN_SPANS_MAX * 2 * (KEY_BYTES_MAX + 16) <= PINS_BYTES_MAX,
    "a pin of the most ranges with the longest keys fits"
);
const _: () = assert!(TICKS_PER_TAKE_MAX as u64 * 4 < (WINDOW_STEP_MS << 14), "a step is enough for many takes");
const _: () = assert!(WINDOW_STEP_MS < WINDOW_MS, "the clock catches up with a fail-over");
const _: () = assert!(WINDOW_MS < WINDOW_IDLE_MS && WINDOW_IDLE_MS < CLOCK_LEAP_MS_MAX, "idle windows are no leaps");
const _: () = assert!(CLOCK_DOUBT_MS < CLOCK_LEAP_MS_MAX, "a clock that runs does not leap");
const _: () = assert!(CLOCK_MS_MIN < CLOCK_MS_MAX, "a clock can be right");
const _: () = assert!(CLOCK_LEAP_MS_MAX < WINDOW_LEAP_MS_MAX, "one extension follows a clock that is followed at once");

/// The limits in force on a node: the ceilings above, or less. Checked before any work is done, and again in apply
/// against the ceilings, which are the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest key in bytes. Too small: jobs with composite keys are refused.
    pub key_bytes_max: usize,
    /// Largest value in bytes. Large values make every hop's memory larger.
    pub value_bytes_max: usize,
    /// Largest request in bytes. It bounds the memory that one caller can hold on a node.
    pub request_bytes_max: usize,
    /// Most operations in one request. It bounds the time that one request holds a shard.
    pub operations_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max: VALUE_BYTES_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
            operations_max: OPERATIONS_MAX,
        }
    }
}

/// A configured limit that is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {found}, expected 1 to {max}; set it within that in the configuration")]
pub struct LimitError {
    /// The configuration's name of the limit.
    pub name: &'static str,
    /// What was configured.
    pub found: usize,
    /// The ceiling of the format.
    pub max: usize,
}

impl Limits {
    /// Checks each limit against its ceiling. Call it once, where the configuration is read.
    pub fn check(&self) -> Result<(), LimitError> {
        let rows = [
            ("key_bytes_max", self.key_bytes_max, KEY_BYTES_MAX),
            ("value_bytes_max", self.value_bytes_max, VALUE_BYTES_MAX),
            ("request_bytes_max", self.request_bytes_max, REQUEST_BYTES_MAX),
            ("operations_max", self.operations_max, OPERATIONS_MAX),
        ];
        match rows.into_iter().find(|(_, found, max)| !(1..=*max).contains(found)) {
            Some((name, found, max)) => Err(LimitError { name, found, max }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_go_down_only() {
        assert_eq!(Limits::default().check(), Ok(()));
        let large = Limits { key_bytes_max: KEY_BYTES_MAX + 1, ..Limits::default() };
        assert_eq!(large.check().unwrap_err().name, "key_bytes_max");
        let none = Limits { operations_max: 0, ..Limits::default() };
        assert_eq!(
            none.check().unwrap_err().to_string(),
            "operations_max is 0, expected 1 to 100000; set it within that in the configuration"
        );
    }
}
