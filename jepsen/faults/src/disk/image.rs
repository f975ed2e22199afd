//! A file system in a file: made, mounted, unmounted, checked.

use super::DiskError;
use rustix::mount::{UnmountFlags, unmount};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Smaller ones have no room for a journal beside data.
const BYTES_MIN: u64 = 16 << 20;

/// How it is mounted: as unkind as ext4 can be.
///
/// | option | without it |
/// |---|---|
/// | `commit` (seconds) | every 5 s the file system syncs what nobody asked it to |
/// | `noauto_da_alloc` | a rename over a file syncs the contents that nobody synced |
/// | `errors=remount-ro` | an error does not make it read-only |
const OPTIONS: &str = "loop,noatime,commit=3600,noauto_da_alloc,errors=remount-ro";

/// How often it is looked whether a file system is still in use.
const POLL: Duration = Duration::from_millis(2);

/// A file with an ext4 file system, mounted. Unmounted and removed with the value.
#[derive(Debug)]
pub(super) struct Image {
    file: PathBuf,
    root: PathBuf,
    /// The loop device that it was mounted on last, `loop7`.
    device: String,
}

impl Image {
    /// Makes a file system of so many bytes in `file`, and mounts it on `root`. Neither may exist.
    pub(super) fn make(file: PathBuf, root: PathBuf, bytes: u64) -> Result<Self, DiskError> {
        if bytes < BYTES_MIN {
            return Err(DiskError::Unfit(format!("expected a disk of {BYTES_MIN} bytes at least, found {bytes}")));
        }
        let sparse = File::create_new(&file).map_err(DiskError::io(|| format!("create {}", file.display())))?;
        let mut image = Self { file, root, device: String::new() };
        sparse.set_len(bytes).map_err(DiskError::io(|| format!("extend {}", image.file.display())))?;
        fs::create_dir(&image.root).map_err(DiskError::io(|| format!("create {}", image.root.display())))?;
        let mut make = Command::new("mkfs.ext4");
        // Nothing is kept back for root, and nothing is left for later.
        make.args(["-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
        run(make.arg(&image.file), &[0])?;
        image.mount()?;
        Ok(image)
    }

    /// Where it is mounted.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The loop device that it is mounted on.
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    /// Replays the journal, and repairs what an error left: else the file system, marked as faulty, would lose the space
    /// of files that were removed while they were open, at this and each later power failure.
    pub(super) fn check(&self) -> Result<(), DiskError> {
        run(Command::new("e2fsck").arg("-p").arg(&self.file), &[0, 1])
    }

    /// Mounts it.
    pub(super) fn mount(&mut self) -> Result<(), DiskError> {
        run(Command::new("mount").args(["-t", "ext4", "-o", OPTIONS]).arg(&self.file).arg(&self.root), &[0])?;
        self.device = device_of(&self.root).map_err(DiskError::io(|| format!("find the device of {self:?}")))?;
        Ok(())
    }

    /// Unmounts it, and waits until nothing uses it.
    pub(super) fn unmount(&self, limit: Duration) -> Result<(), DiskError> {
        let start = Instant::now();
        loop {
            match unmount(&self.root, UnmountFlags::empty()) {
                // The device lets go of the file with the last mount, and other namespaces have mounts of their own.
                Ok(()) | Err(rustix::io::Errno::INVAL) if !self.is_attached() => return Ok(()),
                Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::BUSY) => {}
                Err(error) => return Err(DiskError::io(|| format!("unmount {}", self.root.display()))(error)),
            }
            if start.elapsed() >= limit {
                return Err(DiskError::Busy { path: self.root.clone(), waited: limit });
            }
            thread::sleep(POLL);
        }
    }

    /// Whether the loop device still has the file.
    fn is_attached(&self) -> bool {
        let backing = fs::read_to_string(format!("/sys/block/{}/loop/backing_file", self.device));
        backing.is_ok_and(|path| Path::new(path.trim_end()) == self.file)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        remove(&self.file, &self.root);
    }
}

/// Unmounts what is mounted on `root`, at the latest when its last user ends, and removes both. Errors have no taker:
/// what is left is removed when the next disk is made in the same place.
pub(super) fn remove(file: &Path, root: &Path) {
    if unmount(root, UnmountFlags::empty()).is_err() {
        unmount(root, UnmountFlags::DETACH).ok();
    }
    fs::remove_file(file).ok();
    fs::remove_dir(root).ok();
}

/// The block device that a directory is on, by its name in `/sys/block`.
fn device_of(directory: &Path) -> io::Result<String> {
    let device = fs::metadata(directory)?.dev();
    let link = format!("/sys/dev/block/{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let target = fs::read_link(&link)?;
    let name = target.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| io::Error::other(format!("{link} leads to no device")))
}

/// Runs a program to its end, which is to be one of these codes.
fn run(command: &mut Command, good: &[i32]) -> Result<(), DiskError> {
    let words = format!("{command:?}").replace('"', "");
    match command.env("LC_ALL", "C").output() {
        Ok(output) if output.status.code().is_some_and(|code| good.contains(&code)) => Ok(()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = format!("{} ({})", String::from_utf8_lossy(&said).trim(), output.status);
            Err(DiskError::Command { command: words, said })
        }
        Err(error) => Err(DiskError::io(|| words)(error)),
    }
}
