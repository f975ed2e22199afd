//! The control page: a file of one page, mapped by whoever tests and by the process that is tested.
//!
//! **The only unsafe code of the crate itself.** Why it holds: the file is new, is as long as the mapping and is never
//! cut, so that no access goes beyond its end; both sides touch the mapping by whole atomic words alone, apart from the
//! path, which is written before anyone maps it; and the words are lent no longer than the mapping lives.
#![allow(unsafe_code, reason = "memory that another process changes can only be mapped by unsafe code")]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::ptr;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::layout;

/// The page, mapped.
#[derive(Debug)]
pub(super) struct Page(&'static [AtomicU64; layout::PAGE_WORDS]);

impl Page {
    /// Makes the file, which must not exist, and maps it. `path` is that of the directory whose files are hurt.
    pub(super) fn create(file: &Path, path: &[u8]) -> io::Result<Self> {
        if path.len() > layout::PATH_BYTES_MAX {
            let message = format!("a path of {} bytes, expected {} at most", path.len(), layout::PATH_BYTES_MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut bytes = vec![0; layout::PAGE_BYTES];
        let heads = [
            (layout::AT_MAGIC, layout::MAGIC),
            (layout::AT_VERSION, layout::VERSION),
            (layout::AT_PATH_BYTES, path.len() as u64),
        ];
        for (at, word) in heads {
            bytes[at * 8..][..8].copy_from_slice(&word.to_ne_bytes());
        }
        bytes[layout::AT_PATH * 8..][..path.len()].copy_from_slice(path);
        let mut file = File::options().read(true).write(true).create_new(true).open(file)?;
        file.write_all(&bytes)?;
        let (protect, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, where the kernel likes it, of a file that is as long as it.
        let page = unsafe { mmap(ptr::null_mut(), layout::PAGE_BYTES, protect, flags, &file, 0) }?;
        // SAFETY: the mapping holds this many words, aligned as a page is, until this value is dropped.
        Ok(Self(unsafe { &*page.cast() }))
    }

    /// The word that stands there.
    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        &self.0[at]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped by `create`, with this length; what was lent of it is no longer borrowed. It cannot fail.
        let _ = unsafe { munmap(ptr::from_ref(self.0).cast_mut().cast(), layout::PAGE_BYTES) };
    }
}
