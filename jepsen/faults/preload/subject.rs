//! The subject of probes and tests: makes one system call for each line that it is told, and answers with a line.
//!
//! `ok`, a space and what came of it, or `error` and the error's number. The calls are made through libc's names.
#![allow(unsafe_code, reason = "libc's functions are called by their names, for that is what is tested")]

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant, SystemTime};
use std::{process, ptr, thread};

/// How long it lives at most, whoever forgets it.
const LIFE: Duration = Duration::from_secs(60);
const CLOCK_REALTIME_COARSE: c_int = 5;
const CLOCK_MONOTONIC: c_int = 1;

unsafe extern "C" {
    fn pwrite(fd: c_int, data: *const c_void, bytes: usize, offset: i64) -> isize;
    fn pwritev(fd: c_int, parts: *const IoSlice<'_>, count: c_int, offset: i64) -> isize;
    fn sync_file_range(fd: c_int, offset: i64, bytes: i64, flags: c_uint) -> c_int;
    fn syncfs(fd: c_int) -> c_int;
    fn clock_gettime(clock: c_int, at: *mut [i64; 2]) -> c_int;
    fn gettimeofday(at: *mut [i64; 2], zone: *mut c_void) -> c_int;
    fn time(at: *mut i64) -> i64;
    fn pthread_mutex_lock(mutex: *mut c_void) -> c_int;
    fn pthread_cond_timedwait(condition: *mut c_void, mutex: *mut c_void, deadline: *const [i64; 2]) -> c_int;
}

fn main() {
    thread::spawn(|| {
        thread::sleep(LIFE);
        process::exit(3);
    });
    let mut files = HashMap::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match answer(&line, &mut files) {
            Ok(answer) => format!("ok {answer}\n"),
            Err(error) => format!("error {}\n", error.raw_os_error().unwrap_or(0)),
        };
        if io::stdout().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(line: &str, files: &mut HashMap<String, File>) -> io::Result<String> {
    let words = line.split(' ').collect::<Vec<_>>();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidInput);
    match words[..] {
        ["clock"] => Ok(clocks()),
        ["wait", _] => Ok(wait(number(1)?)),
        ["connect", address] => Ok(TcpStream::connect(address)?.peer_addr()?.to_string()),
        [call, path] => sync(call, open(path, files)?),
        [call, path, _] => {
            let data = vec![b'x'; usize::try_from(number(2)?).map_err(io::Error::other)?];
            Ok(write(call, open(path, files)?, &data)?.to_string())
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Opens a file or a directory once, to write where it can be written.
fn open<'a>(path: &str, files: &'a mut HashMap<String, File>) -> io::Result<&'a File> {
    if !files.contains_key(path) {
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(path);
        files.insert(path.to_owned(), opened.or_else(|_| File::open(path))?);
    }
    files.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn sync(call: &str, file: &File) -> io::Result<String> {
    let done = |result: c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    match call {
        "fsync" => file.sync_all(),
        "fdatasync" => file.sync_data(),
        // SAFETY: the descriptor is open, and no memory is passed.
        "syncfs" => done(unsafe { syncfs(file.as_raw_fd()) }),
        // SAFETY: as above.
        "sync_file_range" => done(unsafe { sync_file_range(file.as_raw_fd(), 0, 0, 2) }),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }?;
    Ok(String::new())
}

/// Writes `data` by one call: at the file's start, or where the file stands.
fn write(call: &str, mut file: &File, data: &[u8]) -> io::Result<usize> {
    let fd = file.as_raw_fd();
    let parts = data.split_at(data.len() / 3);
    let parts = [IoSlice::new(parts.0), IoSlice::new(parts.1)];
    let done = |result: isize| usize::try_from(result).map_err(|_| io::Error::last_os_error());
    match call {
        "write" => file.write(data),
        "writev" => file.write_vectored(&parts),
        "pwrite64" => file.write_at(data, 0),
        // SAFETY: the descriptor is open, and the data is as long as is said.
        "pwrite" => done(unsafe { pwrite(fd, data.as_ptr().cast(), data.len(), 0) }),
        // SAFETY: the descriptor is open, and there are two parts, which look as libc's do.
        "pwritev" => done(unsafe { pwritev(fd, parts.as_ptr(), 2, 0) }),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The wall clock in four ways, in seconds, and the monotonic one.
fn clocks() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut at = [[0; 2]; 3];
    // SAFETY: there is room for two numbers in each.
    let seconds = unsafe {
        clock_gettime(CLOCK_REALTIME_COARSE, &raw mut at[0]);
        clock_gettime(CLOCK_MONOTONIC, &raw mut at[1]);
        gettimeofday(&raw mut at[2], ptr::null_mut());
        time(ptr::null_mut())
    };
    format!("{since} {} {} {seconds} {}", at[0][0], at[2][0], at[1][0])
}

/// Waits for what does not come, to a deadline of the wall clock; returns how many milliseconds it took.
fn wait(millis: i64) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = i64::from(since.subsec_nanos()) + millis * 1_000_000;
    let deadline = [since.as_secs().cast_signed() + nanos / 1_000_000_000, nanos % 1_000_000_000];
    // Both are made of zeros, and neither is larger than this.
    let (mut condition, mut mutex) = ([0_u64; 16], [0_u64; 16]);
    let started = Instant::now();
    // SAFETY: both stay where they are, and nobody else has them.
    unsafe {
        pthread_mutex_lock(mutex.as_mut_ptr().cast());
        pthread_cond_timedwait(condition.as_mut_ptr().cast(), mutex.as_mut_ptr().cast(), &raw const deadline);
    }
    started.elapsed().as_millis().to_string()
}
