//! What is done to bytes at rest, while their node is down.
//!
//! **Damage hits bytes that were written**: files are preallocated, and nobody reads the zeros behind their end. What is
//! hit is a function of the files and of one random number.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The unit in which disks and page caches lose what they have.
const PAGE: usize = 4096;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub enum Damage<'a> {
    /// One bit changes.
    Flip,
    /// The file ends before its end.
    Truncate,
    /// A page is zeros.
    ZeroPage,
    /// A page is what it was at an earlier time: a write that the disk acknowledged was lost.
    OldChunk(&'a Earlier),
}

/// A file as it was.
#[derive(Clone, Debug)]
pub struct Earlier {
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Earlier {
    /// A copy of this file, in memory.
    pub fn of(file: &Path) -> io::Result<Self> {
        Ok(Self { file: file.to_owned(), bytes: fs::read(file)? })
    }
}

/// What was done, to which bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file.
    pub file: PathBuf,
    /// The first byte that is not what it was.
    pub offset: u64,
    /// What was done, in words.
    pub what: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

/// Damages one of the files in `directory` and below it that match and have something written in them. Nothing is done,
/// and `None` said, if there is none, or if an old chunk is wanted and the file has no other than it had.
///
/// No process has the file open; it is read whole. The damage is synced.
pub fn damage(
    directory: &Path,
    matches: impl Fn(&Path) -> bool,
    what: Damage<'_>,
    random: u64,
) -> io::Result<Option<Damaged>> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.retain(|file| matches(file));
    if let Damage::OldChunk(earlier) = what {
        files.retain(|file| *file == earlier.file);
    }
    let mut dice = Dice(random);
    // A file that cannot be damaged, for nothing is in it, is put aside.
    while !files.is_empty() {
        let file = files.swap_remove(dice.below(files.len()));
        let bytes = fs::read(&file)?;
        if let Some(change) = change(&bytes, what, &mut dice) {
            return apply(file, change).map(Some);
        }
    }
    Ok(None)
}

/// Behind the last byte that is not zero: what follows was preallocated, or might as well have been.
pub fn written_end(file: &Path) -> io::Result<u64> {
    Ok(end_of(&fs::read(file)?) as u64)
}

/// What is about to be done to a file.
struct Change {
    offset: usize,
    /// What stands at the offset from now on; nothing where the file ends there.
    bytes: Option<Vec<u8>>,
    what: String,
}

/// What to do to a file with these bytes, if it can be done.
fn change(bytes: &[u8], what: Damage<'_>, dice: &mut Dice) -> Option<Change> {
    let written = &bytes[..end_of(bytes)];
    if written.is_empty() {
        return None;
    }
    match what {
        Damage::Flip => {
            let offset = dice.below(written.len());
            let bit = dice.below(8);
            let (before, after) = (bytes[offset], bytes[offset] ^ (1 << bit));
            Some(Change { offset, bytes: Some(vec![after]), what: format!("{before:#04x} is {after:#04x}") })
        }
        Damage::Truncate => {
            let offset = dice.below(written.len());
            let lost = written.len() - offset;
            Some(Change { offset, bytes: None, what: format!("the file ends here, {lost} written bytes are gone") })
        }
        Damage::ZeroPage => replace_page(written, |_, page| vec![0; page.len()], "zeros", dice),
        Damage::OldChunk(earlier) => {
            let before = |at: usize, page: &[u8]| {
                earlier.bytes.get(at..at + page.len()).map_or_else(|| page.to_vec(), <[u8]>::to_vec)
            };
            replace_page(bytes, before, "as they were before", dice)
        }
    }
}

/// Replaces one of the pages that differ from their replacement.
fn replace_page(
    bytes: &[u8],
    replacement: impl Fn(usize, &[u8]) -> Vec<u8>,
    words: &str,
    dice: &mut Dice,
) -> Option<Change> {
    let pages = bytes.chunks(PAGE).enumerate().map(|(number, page)| (number * PAGE, page));
    let all = pages.map(|(at, page)| (at, page, replacement(at, page)));
    let mut others: Vec<_> = all.filter(|(_, page, new)| *page != new.as_slice()).collect();
    if others.is_empty() {
        return None;
    }
    let (offset, _, new) = others.swap_remove(dice.below(others.len()));
    Some(Change { offset, what: format!("{} bytes are {words}", new.len()), bytes: Some(new) })
}

fn apply(file: PathBuf, change: Change) -> io::Result<Damaged> {
    let open = OpenOptions::new().write(true).open(&file)?;
    let offset = change.offset as u64;
    match change.bytes {
        Some(bytes) => open.write_all_at(&bytes, offset)?,
        None => open.set_len(offset)?,
    }
    open.sync_all()?;
    Ok(Damaged { file, offset, what: change.what })
}

/// All files below a directory, in the order of their names.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Many small numbers out of one large: `SplitMix64` (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (mixed ^ (mixed >> 31)) % bound as u64;
        usize::try_from(number).expect("it is below a bound that was a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a log whose end is preallocated, a nested table, an empty log and a file that matches nothing.
    fn files() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("nested")).unwrap();
        fs::write(directory.path().join("1.log"), log()).unwrap();
        fs::write(directory.path().join("2.log"), vec![0; 3 * PAGE]).unwrap();
        fs::write(directory.path().join("nested/3.sst"), [7; 10]).unwrap();
        fs::write(directory.path().join("other"), [9; 10]).unwrap();
        directory
    }

    fn log() -> Vec<u8> {
        let mut bytes = vec![0; 8 * PAGE];
        bytes[..2 * PAGE + 10].fill(1);
        // A hole in what was written.
        bytes[PAGE..2 * PAGE].fill(0);
        bytes
    }

    fn is_log(file: &Path) -> bool {
        file.extension().is_some_and(|extension| extension == "log")
    }

    /// Damages the logs of fresh files, and gives what was done and what `1.log` is then.
    fn damaged(what: Damage<'_>, random: u64) -> (Damaged, Vec<u8>) {
        let directory = files();
        let done =
            damage(directory.path(), is_log, what, random).unwrap().expect("there is a log with something in it");
        assert_eq!(done.file, directory.path().join("1.log"));
        assert_eq!(fs::read(directory.path().join("other")).unwrap(), [9; 10]);
        let after = fs::read(&done.file).unwrap();
        (Damaged { file: "1.log".into(), ..done }, after)
    }

    #[test]
    fn a_flip_changes_one_bit_of_what_was_written() {
        let mut offsets = std::collections::BTreeSet::new();
        for random in 0..200 {
            let (done, after) = damaged(Damage::Flip, random);
            let bits = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
            assert_eq!(log().iter().zip(&after).map(bits).sum::<u32>(), 1);
            let offset = usize::try_from(done.offset).unwrap();
            assert!(offset < 2 * PAGE + 10, "behind what was written: {done}");
            assert_ne!(after[offset], log()[offset]);
            offsets.insert(offset);
        }
        assert!(offsets.len() > 150, "the same bytes again and again: {offsets:?}");
    }

    #[test]
    fn a_truncated_file_lacks_bytes_that_were_written() {
        for random in 0..50 {
            let (done, after) = damaged(Damage::Truncate, random);
            assert_eq!(after.len() as u64, done.offset);
            assert!(after.len() < 2 * PAGE + 10);
            assert_eq!(after[..], log()[..after.len()]);
        }
    }

    #[test]
    fn a_zeroed_page_had_something_in_it() {
        let offsets: std::collections::BTreeSet<_> = (0..50)
            .map(|random| {
                let (done, after) = damaged(Damage::ZeroPage, random);
                let at = usize::try_from(done.offset).unwrap();
                let mut expected = log();
                expected[at..at + PAGE].fill(0);
                assert_eq!(after, expected);
                done.offset
            })
            .collect();
        assert_eq!(offsets.into_iter().collect::<Vec<_>>(), [0, 2 * PAGE as u64]);
    }

    #[test]
    fn an_old_chunk_is_the_same_place_at_an_earlier_time() {
        let directory = files();
        let file = directory.path().join("1.log");
        let earlier = Earlier::of(&file).unwrap();
        assert_eq!(damage(directory.path(), is_log, Damage::OldChunk(&earlier), 1).unwrap(), None, "nothing changed");
        let mut now = log();
        now[2 * PAGE + 10..5 * PAGE].fill(2);
        fs::write(&file, &now).unwrap();
        let done = damage(directory.path(), is_log, Damage::OldChunk(&earlier), 1).unwrap().unwrap();
        let at = usize::try_from(done.offset).unwrap();
        assert!([2, 3, 4].map(|page| page * PAGE).contains(&at), "{done}");
        now[at..at + PAGE].copy_from_slice(&log()[at..at + PAGE]);
        assert_eq!(fs::read(&file).unwrap(), now);
    }

    #[test]
    fn what_is_hit_is_a_function_of_files_and_number() {
        assert_eq!(damaged(Damage::Flip, 7), damaged(Damage::Flip, 7));
        assert_ne!(damaged(Damage::Flip, 7).0, damaged(Damage::Flip, 8).0);
    }

    #[test]
    fn files_are_found_in_directories_below_and_none_is_no_error() {
        let directory = files();
        let nested = |file: &Path| file.ends_with("nested/3.sst");
        let done = damage(directory.path(), nested, Damage::Truncate, 3).unwrap().unwrap();
        assert!(nested(&done.file));
        assert_eq!(damage(directory.path(), |_| false, Damage::Flip, 3).unwrap(), None);
        assert_eq!(damage(directory.path(), |file| file.ends_with("2.log"), Damage::Flip, 3).unwrap(), None);
    }

    #[test]
    fn the_end_of_what_was_written_is_behind_the_last_byte_that_is_not_zero() {
        let directory = files();
        assert_eq!(written_end(&directory.path().join("1.log")).unwrap(), 2 * PAGE as u64 + 10);
        assert_eq!(written_end(&directory.path().join("2.log")).unwrap(), 0);
    }
}
