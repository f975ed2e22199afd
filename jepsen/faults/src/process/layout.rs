//! Where things stand in the control page: words of 64 bits in the byte order of the machine, then a path.
//!
//! Compiled twice, into the crate and into the library that is preloaded: what one writes the other reads.
//!
//! ```text
//!   word 0         8          16         32         64             256       512
//!        │ heads   │ settings │ counts   │ sequences│ links, pairs  │ path    │
//! ```

/// The variable that names the page's file to the library. It begins as no knob of a product does, for a product may
/// refuse variables that look like knobs and are none.
pub(crate) const CONTROL: &str = "PRELOAD_CONTROL";

/// Bytes of the page, and its words.
pub(crate) const PAGE_BYTES: usize = 4096;
pub(crate) const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// What stands in the first two words. The version changes with anything else in this file.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"LENTICPL");
pub(crate) const VERSION: u64 = 1;
pub(crate) const AT_MAGIC: usize = 0;
pub(crate) const AT_VERSION: usize = 1;
/// Bytes of the path of the directory whose files are hurt.
pub(crate) const AT_PATH_BYTES: usize = 2;

/// How many links there are; zero while they are written.
pub(crate) const AT_LINKS: usize = 3;

/// The settings. In each, zero means that nothing is done.
pub(crate) const AT_FIRST_SETTING: usize = 8;
pub(crate) const AT_SUFFIX: usize = AT_FIRST_SETTING;
pub(crate) const AT_SYNC_DELAY_MICROS: usize = 9;
pub(crate) const AT_SYNC_FAILURE: usize = 10;
pub(crate) const AT_WRITE_FAILURE: usize = 11;
pub(crate) const AT_TORN_WRITE: usize = 12;
pub(crate) const AT_CLOCK_OFFSET_NANOS: usize = 13;
pub(crate) const AT_SETTINGS_END: usize = 14;

/// The counts, which only the library raises.
pub(crate) const AT_PROCESSES: usize = 16;
pub(crate) const AT_SYNCS: usize = 17;
pub(crate) const AT_SYNCS_SLOWED: usize = 18;
pub(crate) const AT_SYNCS_FAILED: usize = 19;
pub(crate) const AT_WRITES_FAILED: usize = 20;
pub(crate) const AT_WRITES_TORN: usize = 21;
pub(crate) const AT_CLOCK_READS_SHIFTED: usize = 22;
pub(crate) const AT_CONNECTS_REDIRECTED: usize = 23;

/// Calls since a failure was set, for failures of one call in so many: the word of a failure plus this.
pub(crate) const SEQUENCE: usize = 32;

/// Links: a pair of words each, from and to, address above port.
pub(crate) const AT_FIRST_LINK: usize = 64;
pub(crate) const LINKS_MAX: usize = 96;
pub(crate) const PORT_BITS: u32 = 16;

/// The path, to the end of the page.
pub(crate) const AT_PATH: usize = 256;
pub(crate) const PATH_BYTES_MAX: usize = (PAGE_WORDS - AT_PATH) * 8;

/// A failure is one word, so that it changes at once: the error's number, when it strikes, and a number of calls.
pub(crate) const ERRNO_SHIFT: u32 = 40;
pub(crate) const WHEN_SHIFT: u32 = 32;
pub(crate) const WHEN_ALWAYS: u64 = 1;
pub(crate) const WHEN_NEXT: u64 = 2;
pub(crate) const WHEN_ONE_IN: u64 = 3;
/// The number of calls, which is counted down in place.
pub(crate) const CALLS_MASK: u64 = 0xffff_ffff;

/// A torn write is one word: when the process is killed, and the number that chooses where the write is cut.
pub(crate) const KILL_SHIFT: u32 = 32;
pub(crate) const KILL_AT_ONCE: u64 = 1;
pub(crate) const KILL_AT_SYNC: u64 = 2;

const _: () = assert!(AT_CONNECTS_REDIRECTED < AT_SYNC_FAILURE + SEQUENCE);
const _: () = assert!(AT_WRITE_FAILURE + SEQUENCE < AT_FIRST_LINK);
const _: () = assert!(AT_FIRST_LINK + 2 * LINKS_MAX <= AT_PATH);
