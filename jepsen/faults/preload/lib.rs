//! Faults of system calls, from inside the process that makes them: loaded with `LD_PRELOAD`, told by a page of memory
//! that is shared with whoever tests the process. Without a page it does nothing.
//!
//! | calls | what can be done |
//! |---|---|
//! | `fsync`, `fdatasync`, `sync_file_range`, `syncfs` | slowed, failed; the process killed after a torn write |
//! | `write`, `writev`, `pwrite`, `pwritev` | failed, torn |
//! | `clock_gettime`, `gettimeofday`, `time`, `pthread_cond_timedwait` | the wall clock shifted |
//! | `connect` | an IPv4 address replaced |
//!
//! Only calls through these names of libc are seen: none that the process makes by itself, none inside libc (buffered
//! writes of stdio, the resolver's connects), none of `io_uring`, and no write through a mapping.
//!
//! Once it is loaded nothing here allocates, and nothing takes a lock; a call with nothing set costs a load or two.
#![allow(
    unsafe_code,
    reason = "libc's functions are replaced, and libc's are called: there is no safe way to do either"
)]

#[path = "../src/process/layout.rs"]
#[allow(dead_code, reason = "a part of it is for the other side")]
mod layout;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::time::Duration;
use std::{env, fs, io, mem, ptr, slice, thread};

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
compile_error!("the types of these functions are those of glibc on 64-bit Linux");

/// A point in time, `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Timespec {
    seconds: i64,
    nanos: i64,
}

/// A point in time, `struct timeval`.
#[repr(C)]
pub struct Timeval {
    seconds: i64,
    micros: i64,
}

/// A part of a vectored write, `struct iovec`.
#[repr(C)]
pub struct Part {
    data: *const c_void,
    bytes: usize,
}

/// An IPv4 address, `struct sockaddr_in`: port and address in the order of the network.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Address {
    family: u16,
    port: [u8; 2],
    address: [u8; 4],
    zero: [u8; 8],
}

const NEXT: *mut c_void = ptr::without_provenance_mut(usize::MAX);
const PROTECT_READ_WRITE: c_int = 1 | 2;
const MAP_SHARED: c_int = 1;
const SEEK_CURRENT: c_int = 1;
const SIGKILL: c_int = 9;
const FAMILY_IPV4: u16 = 2;
const ADDRESS_BYTES: c_uint = 16;
const _: () = assert!(mem::size_of::<Address>() == ADDRESS_BYTES as usize);
const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const NANOS: i64 = 1_000_000_000;
/// A write that a power failure cut off keeps whole sectors.
const SECTOR_BYTES: usize = 512;
/// A deadline later than this is one of the wall clock, for no machine has been up for thirty years.
const UPTIME_SECONDS_MAX: i64 = NANOS;

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn mmap(at: *mut c_void, bytes: usize, protect: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn readlink(path: *const c_char, to: *mut u8, bytes: usize) -> isize;
    fn lseek(fd: c_int, offset: i64, from: c_int) -> i64;
    fn getpid() -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn _exit(code: c_int) -> !;
    fn __errno_location() -> *mut c_int;
}

/// The page; null until the library has started, and for good if there is none.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// A write was torn, and the process does not live past its next sync.
static KILL_AT_SYNC: AtomicBool = AtomicBool::new(false);

/// Run by the loader before the program's own constructors. What is called before that is done as if there were no
/// page.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let Some(path) = env::var_os(layout::CONTROL) else { return };
    match map(path.as_ref()) {
        Ok(page) => {
            PAGE.store(page, Release);
            if let Some(page) = Page::get() {
                page.count(layout::AT_PROCESSES);
            }
        }
        // Without its faults the process would prove something else than its tester believes.
        Err(error) => {
            eprintln!("lentic_preload: the control page {}: {error}", path.display());
            // SAFETY: it only ends the process.
            unsafe { _exit(127) }
        }
    }
}

fn map(path: &Path) -> io::Result<*mut AtomicU64> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    if file.metadata()?.len() != layout::PAGE_BYTES as u64 {
        return Err(io::Error::other("it is not a page long"));
    }
    // SAFETY: a new mapping of a file that is ours and as long as the mapping; it is never unmapped.
    let page =
        unsafe { mmap(ptr::null_mut(), layout::PAGE_BYTES, PROTECT_READ_WRITE, MAP_SHARED, file.as_raw_fd(), 0) };
    if page.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    let page = page.cast::<AtomicU64>();
    // SAFETY: the mapping holds this many words, aligned as a page is.
    let words = unsafe { slice::from_raw_parts(page, layout::PAGE_WORDS) };
    let head = (words[layout::AT_MAGIC].load(Relaxed), words[layout::AT_VERSION].load(Relaxed));
    if head != (layout::MAGIC, layout::VERSION) {
        return Err(io::Error::other("it is not one, or of another version; build both sides anew"));
    }
    Ok(page)
}

/// The page, which is there.
#[derive(Clone, Copy)]
struct Page(&'static [AtomicU64; layout::PAGE_WORDS]);

impl Page {
    fn get() -> Option<Self> {
        let page = PAGE.load(Acquire).cast::<[AtomicU64; layout::PAGE_WORDS]>();
        // SAFETY: null, or the mapping, which holds this many words and stays to the end of the process.
        unsafe { page.as_ref() }.map(Self)
    }

    fn word(self, at: usize) -> u64 {
        self.0[at].load(Relaxed)
    }

    fn count(self, at: usize) {
        self.0[at].fetch_add(1, Relaxed);
    }

    /// Whether the descriptor's file is one of those that are hurt.
    fn hurts(self, fd: c_int) -> bool {
        let mut link = [0; 32];
        if write!(&mut link[..], "/proc/self/fd/{fd}\0").is_err() {
            return false;
        }
        let mut path = [0; 4096];
        // SAFETY: the link's name ends with a zero byte, and the path has as many bytes as it is said to have.
        let bytes = unsafe { readlink(link.as_ptr().cast(), path.as_mut_ptr(), path.len()) };
        let Ok(bytes) = usize::try_from(bytes) else { return false };
        let Some(below) = path[..bytes].strip_prefix(self.path()) else { return false };
        let suffix = self.word(layout::AT_SUFFIX).to_ne_bytes();
        let suffix = suffix.split(|byte| *byte == 0).next().unwrap_or(&[]);
        (below.is_empty() || below.starts_with(b"/")) && below.ends_with(suffix)
    }

    fn path(self) -> &'static [u8] {
        let bytes = usize::try_from(self.word(layout::AT_PATH_BYTES)).unwrap_or(0).min(layout::PATH_BYTES_MAX);
        let path = &self.0[layout::AT_PATH..];
        // SAFETY: these bytes are inside of the page, and nobody writes them once the page's file is complete.
        unsafe { slice::from_raw_parts(path.as_ptr().cast(), bytes) }
    }

    /// The error with which this call is to fail, if it is.
    fn failure(self, at: usize) -> Option<c_int> {
        let failure = self.word(at);
        let calls = failure & layout::CALLS_MASK;
        let strikes = match (failure >> layout::WHEN_SHIFT) & 0xff {
            layout::WHEN_ALWAYS => true,
            layout::WHEN_NEXT => {
                let same = |now: u64| now >> layout::WHEN_SHIFT == failure >> layout::WHEN_SHIFT;
                let spent = |now: u64| (same(now) && now & layout::CALLS_MASK > 0).then(|| now - 1);
                self.0[at].fetch_update(Relaxed, Relaxed, spent).is_ok()
            }
            layout::WHEN_ONE_IN => {
                (self.0[at + layout::SEQUENCE].fetch_add(1, Relaxed) + 1).is_multiple_of(calls.max(1))
            }
            _ => false,
        };
        strikes.then(|| c_int::try_from(failure >> layout::ERRNO_SHIFT).unwrap_or(c_int::MAX))
    }

    /// What is added to the wall clock, if anything is.
    fn clock_offset(self) -> Option<i64> {
        let nanos = self.word(layout::AT_CLOCK_OFFSET_NANOS).cast_signed();
        (nanos != 0).then_some(nanos)
    }

    /// Where a connect to this address goes instead.
    fn link(self, address: &Address) -> Option<Address> {
        let links = usize::try_from(self.0[layout::AT_LINKS].load(Acquire)).unwrap_or(0).min(layout::LINKS_MAX);
        let from = u64::from(u32::from_be_bytes(address.address)) << layout::PORT_BITS
            | u64::from(u16::from_be_bytes(address.port));
        let mut pairs = (0..links).map(|link| layout::AT_FIRST_LINK + 2 * link);
        let to = pairs.find(|pair| self.word(*pair) == from).map(|pair| self.word(pair + 1))?.to_be_bytes();
        // Two bytes of nothing, four of the address, two of the port.
        Some(Address { address: [to[2], to[3], to[4], to[5]], port: [to[6], to[7]], ..*address })
    }
}

/// The function that a call would have reached without this library. Unsafe: the type must be that of libc's.
macro_rules! next {
    ($name:literal, $type:ty) => {{
        static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
        mem::transmute::<*mut c_void, $type>(find(&FOUND, $name))
    }};
}

fn find(found: &AtomicPtr<c_void>, name: &'static CStr) -> *mut c_void {
    let mut function = found.load(Relaxed);
    if function.is_null() {
        // SAFETY: the name ends with a zero byte. A search that finds allocates nothing, so it does not come back here.
        function = unsafe { dlsym(NEXT, name.as_ptr()) };
        if function.is_null() {
            // SAFETY: it only ends the process.
            unsafe { _exit(127) }
        }
        found.store(function, Relaxed);
    }
    function
}

fn fail(errno: c_int) {
    // SAFETY: the thread's own number, always there.
    unsafe { *__errno_location() = errno };
}

fn die() -> ! {
    // SAFETY: a signal to ourselves, which nothing catches. What follows it is never reached.
    unsafe {
        kill(getpid(), SIGKILL);
        _exit(137)
    }
}

/// A sync of `fd`: what is asked for happens to it, or `real`.
fn on_sync(fd: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let Some(page) = Page::get().filter(|page| page.hurts(fd)) else { return real() };
    page.count(layout::AT_SYNCS);
    if KILL_AT_SYNC.load(Relaxed) {
        die();
    }
    let micros = page.word(layout::AT_SYNC_DELAY_MICROS);
    if micros != 0 {
        page.count(layout::AT_SYNCS_SLOWED);
        thread::sleep(Duration::from_micros(micros));
    }
    if let Some(errno) = page.failure(layout::AT_SYNC_FAILURE) {
        page.count(layout::AT_SYNCS_FAILED);
        fail(errno);
        return -1;
    }
    real()
}

/// A write of `bytes` to `fd`, at `offset` or where the file stands: what is asked for happens to it, or `real`.
/// `first` writes so many of the first bytes.
fn on_write(
    fd: c_int,
    bytes: usize,
    offset: Option<i64>,
    real: impl FnOnce() -> isize,
    first: impl FnOnce(usize),
) -> isize {
    let asked = |page: &Page| page.word(layout::AT_WRITE_FAILURE) | page.word(layout::AT_TORN_WRITE) != 0;
    let Some(page) = Page::get().filter(asked).filter(|page| page.hurts(fd)) else { return real() };
    if let Some(errno) = page.failure(layout::AT_WRITE_FAILURE) {
        page.count(layout::AT_WRITES_FAILED);
        fail(errno);
        return -1;
    }
    // One write takes it.
    let torn = page.0[layout::AT_TORN_WRITE].swap(0, Relaxed);
    if torn == 0 {
        return real();
    }
    // SAFETY: it asks where the file stands.
    let offset = offset.unwrap_or_else(|| unsafe { lseek(fd, 0, SEEK_CURRENT) });
    first(kept(usize::try_from(offset).unwrap_or(0), bytes, torn & layout::CALLS_MASK));
    page.count(layout::AT_WRITES_TORN);
    if torn >> layout::KILL_SHIFT == layout::KILL_AT_ONCE {
        die();
    }
    KILL_AT_SYNC.store(true, Relaxed);
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// How much of a torn write stays: up to one of the file's sectors that begin inside of it; nothing, if none does.
fn kept(offset: usize, bytes: usize, choice: u64) -> usize {
    let first = SECTOR_BYTES - offset % SECTOR_BYTES;
    if first >= bytes {
        return 0;
    }
    let cuts = (bytes - 1 - first) / SECTOR_BYTES + 1;
    first + SECTOR_BYTES * (usize::try_from(choice).unwrap_or(0) % cuts)
}

/// Of a vectored write the first `kept` bytes, part by part: `one` writes so many bytes of a part, so far into the
/// write.
fn first_of(parts: &[Part], kept: usize, one: impl Fn(&Part, usize, usize)) {
    let mut done = 0;
    for part in parts {
        let bytes = part.bytes.min(kept - done);
        one(part, bytes, done);
        done += bytes;
    }
}

/// The parts of a vectored write.
///
/// # Safety
/// As many parts as it says, or a count that libc refuses.
unsafe fn parts<'a>(parts: *const Part, count: c_int) -> &'a [Part] {
    match usize::try_from(count) {
        // SAFETY: the caller of the write promises it.
        Ok(count) if !parts.is_null() => unsafe { slice::from_raw_parts(parts, count) },
        _ => &[],
    }
}

fn sum(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.bytes).sum()
}

type Sync = unsafe extern "C" fn(c_int) -> c_int;
type SyncRange = unsafe extern "C" fn(c_int, i64, i64, c_uint) -> c_int;
type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;
type WriteAt = unsafe extern "C" fn(c_int, *const c_void, usize, i64) -> isize;
type WriteParts = unsafe extern "C" fn(c_int, *const Part, c_int) -> isize;
type WritePartsAt = unsafe extern "C" fn(c_int, *const Part, c_int, i64) -> isize;
type ReadClock = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;
type TimedWait = unsafe extern "C" fn(*mut c_void, *mut c_void, *const Timespec) -> c_int;
type Connect = unsafe extern "C" fn(c_int, *const Address, c_uint) -> c_int;

/// `fsync` and its like, which take a descriptor alone.
macro_rules! syncs {
    ($($name:ident $text:literal),*) => { $(
        /// Libc's function of this name, with the faults of the module's table.
        ///
        /// # Safety
        /// As libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int) -> c_int {
            // SAFETY: the call that was made.
            on_sync(fd, || unsafe { next!($text, Sync)(fd) })
        }
    )* };
}
syncs!(fsync c"fsync", fdatasync c"fdatasync", syncfs c"syncfs");

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_file_range(fd: c_int, offset: i64, bytes: i64, flags: c_uint) -> c_int {
    // SAFETY: the call that was made.
    on_sync(fd, || unsafe { next!(c"sync_file_range", SyncRange)(fd, offset, bytes, flags) })
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, bytes: usize) -> isize {
    // SAFETY: the call that was made, or one for its first bytes.
    let real = |bytes| unsafe { next!(c"write", Write)(fd, data, bytes) };
    on_write(fd, bytes, None, || real(bytes), |kept| _ = real(kept))
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, data: *const c_void, bytes: usize, offset: i64) -> isize {
    // SAFETY: the call that was made, or one for its first bytes.
    let real = |bytes| unsafe { next!(c"pwrite", WriteAt)(fd, data, bytes, offset) };
    on_write(fd, bytes, Some(offset), || real(bytes), |kept| _ = real(kept))
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, data: *const c_void, bytes: usize, offset: i64) -> isize {
    // SAFETY: the same function by another name.
    unsafe { pwrite(fd, data, bytes, offset) }
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, first: *const Part, count: c_int) -> isize {
    // SAFETY: the call that was made.
    let real = || unsafe { next!(c"writev", WriteParts)(fd, first, count) };
    // SAFETY: the caller's promise.
    let parts = unsafe { parts(first, count) };
    on_write(fd, sum(parts), None, real, |kept| {
        // SAFETY: a part of the call that was made.
        first_of(parts, kept, |part, bytes, _| _ = unsafe { next!(c"write", Write)(fd, part.data, bytes) });
    })
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwritev(fd: c_int, first: *const Part, count: c_int, offset: i64) -> isize {
    // SAFETY: the call that was made.
    let real = || unsafe { next!(c"pwritev", WritePartsAt)(fd, first, count, offset) };
    // SAFETY: the caller's promise.
    let parts = unsafe { parts(first, count) };
    on_write(fd, sum(parts), Some(offset), real, |kept| {
        first_of(parts, kept, |part, bytes, done| {
            let offset = offset.saturating_add(i64::try_from(done).unwrap_or(i64::MAX));
            // SAFETY: a part of the call that was made.
            _ = unsafe { next!(c"pwrite", WriteAt)(fd, part.data, bytes, offset) };
        });
    })
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwritev64(fd: c_int, first: *const Part, count: c_int, offset: i64) -> isize {
    // SAFETY: the same function by another name.
    unsafe { pwritev(fd, first, count, offset) }
}

/// Reads a clock, shifted if it is the wall's.
fn read_clock(clock: c_int, at: &mut Timespec) -> c_int {
    // SAFETY: there is room for what it writes.
    let result = unsafe { next!(c"clock_gettime", ReadClock)(clock, at) };
    let wall = matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE);
    if result == 0
        && wall
        && let Some(page) = Page::get()
        && let Some(offset) = page.clock_offset()
    {
        page.count(layout::AT_CLOCK_READS_SHIFTED);
        *at = at.plus(offset);
    }
    result
}

impl Timespec {
    fn plus(self, nanos: i64) -> Self {
        // Both are less than a second, and so is what is left of the offset.
        let within = self.nanos + nanos % NANOS;
        Self {
            seconds: self.seconds.saturating_add(nanos / NANOS).saturating_add(within.div_euclid(NANOS)),
            nanos: within.rem_euclid(NANOS),
        }
    }
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, at: *mut Timespec) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { at.as_mut() } {
        Some(at) => read_clock(clock, at),
        // SAFETY: the call that was made; the kernel refuses it.
        None => unsafe { next!(c"clock_gettime", ReadClock)(clock, at) },
    }
}

/// Libc's function of this name, with the faults of the module's table. There is no time zone, as in libc.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(at: *mut Timeval, zone: *mut [c_int; 2]) -> c_int {
    let mut now = Timespec { seconds: 0, nanos: 0 };
    let result = read_clock(CLOCK_REALTIME, &mut now);
    // SAFETY: the caller's promise.
    if let Some(at) = unsafe { at.as_mut() } {
        *at = Timeval { seconds: now.seconds, micros: now.nanos / 1000 };
    }
    // SAFETY: the caller's promise.
    if let Some(zone) = unsafe { zone.as_mut() } {
        *zone = [0, 0];
    }
    result
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(at: *mut i64) -> i64 {
    let mut now = Timespec { seconds: 0, nanos: 0 };
    read_clock(CLOCK_REALTIME_COARSE, &mut now);
    // SAFETY: the caller's promise.
    if let Some(at) = unsafe { at.as_mut() } {
        *at = now.seconds;
    }
    now.seconds
}

/// Libc's function of this name: a deadline by the shifted clock is one by the kernel's when the shift is taken off. A
/// wait that has begun is not moved by a new shift.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_timedwait(
    condition: *mut c_void,
    mutex: *mut c_void,
    deadline: *const Timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let shifted = match unsafe { deadline.as_ref() } {
        Some(deadline) if deadline.seconds > UPTIME_SECONDS_MAX => Page::get()
            .and_then(Page::clock_offset)
            .map(|offset| deadline.plus(offset.saturating_neg()))
            .map(|deadline| if deadline.seconds < 0 { Timespec { seconds: 0, nanos: 0 } } else { deadline }),
        _ => None,
    };
    // SAFETY: the call that was made, perhaps with another deadline.
    unsafe {
        next!(c"pthread_cond_timedwait", TimedWait)(condition, mutex, shifted.as_ref().map_or(deadline, ptr::from_ref))
    }
}

/// Libc's function of this name, with the faults of the module's table.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(socket: c_int, address: *const Address, bytes: c_uint) -> c_int {
    // SAFETY: the call that was made, or one with another address of the same kind.
    let real = |address, bytes| unsafe { next!(c"connect", Connect)(socket, address, bytes) };
    // The family stands first in addresses of every kind.
    let is_ipv4 = bytes >= ADDRESS_BYTES
        && !address.is_null()
        // SAFETY: the caller's promise: as many bytes as it says. It does not promise an alignment.
        && unsafe { address.read_unaligned() }.family == FAMILY_IPV4;
    if is_ipv4
        && let Some(page) = Page::get()
        // SAFETY: as above.
        && let Some(other) = page.link(&unsafe { address.read_unaligned() })
    {
        page.count(layout::AT_CONNECTS_REDIRECTED);
        return real(&raw const other, ADDRESS_BYTES);
    }
    real(address, bytes)
}
