//! What is done to a disk as a whole: its power cut, its space taken, its file system made read-only.

use super::image::Image;
use super::place::Backing;
use super::shutdown::shutdown;
use super::{Disk, DiskError};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long processes that were killed may take to let go of their files.
const RESTORE_MAX: Duration = Duration::from_secs(10);

impl Disk {
    /// Cuts the power: from now on every call that needs the disk answers EIO, and what was not synced is lost (the
    /// module's table says what that is). The processes that use it live on: kill them, then [`Disk::restore`].
    pub fn cut_power(&self) -> Result<(), DiskError> {
        let root = self.image("a power failure")?.root();
        let open = File::open(root).map_err(DiskError::io(|| format!("open {}", root.display())))?;
        shutdown(open).map_err(DiskError::io(|| format!("cut the power of {}", root.display())))
    }

    /// Unmounts, checks as a machine that starts does (the journal is replayed), and mounts again: after a power failure,
    /// or to be writable again. Waits some seconds for processes that were killed; after [`DiskError::Busy`] it can be
    /// asked again.
    pub fn restore(&mut self) -> Result<(), DiskError> {
        self.restore_within(RESTORE_MAX)
    }

    pub(super) fn restore_within(&mut self, limit: Duration) -> Result<(), DiskError> {
        match &mut self.backing {
            Backing::Mounted(image) => image.unmount(limit).and_then(|()| image.check()).and_then(|()| image.mount()),
            Backing::Plain { why, .. } => Err(DiskError::Plain { what: "a restoration", why: why.clone() }),
        }
    }

    /// Takes all space but `leave_bytes`: writers who need more get ENOSPC. The disk is still full after a power failure,
    /// for the ballast is synced, and with it the names and lengths (not the contents) of all other files.
    pub fn fill(&self, leave_bytes: u64) -> Result<(), DiskError> {
        let ballast = ballast(self.image("a full disk")?);
        take_space(&ballast, leave_bytes).map_err(DiskError::io(|| format!("fill {}", ballast.display())))
    }

    /// Gives back what [`Disk::fill`] took.
    pub fn free(&self) -> Result<(), DiskError> {
        let image = self.image("a full disk")?;
        let freed = give_space(&ballast(image));
        freed.map_err(DiskError::io(|| format!("free {}", image.root().display())))
    }

    /// Makes the file system find an error, upon which it protects itself: every write answers EROFS, of files that are
    /// open too; reads go on. What was not synced may be lost. Only [`Disk::restore`] makes it writable again.
    ///
    /// This is how a disk turns read-only under a process; remounting is refused while files are open for writing.
    pub fn turn_read_only(&self) -> Result<(), DiskError> {
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", self.image("a read-only disk")?.device());
        fs::write(&trigger, "made read-only").map_err(DiskError::io(|| format!("write {trigger}")))
    }

    /// The file system to which `what` is done.
    fn image(&self, what: &'static str) -> Result<&Image, DiskError> {
        match &self.backing {
            Backing::Mounted(image) => Ok(image),
            Backing::Plain { why, .. } => Err(DiskError::Plain { what, why: why.clone() }),
        }
    }
}

/// The file that takes space: beside the node's data, not among it.
fn ballast(image: &Image) -> PathBuf {
    image.root().join("ballast")
}

/// Lets a file grow until its file system has no more than `leave_bytes`.
fn take_space(ballast: &Path, leave_bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(ballast)?;
    let mut step_max = u64::MAX;
    loop {
        let stat = statvfs(ballast)?;
        let blocks = (stat.f_bavail * stat.f_frsize).saturating_sub(leave_bytes) / stat.f_frsize;
        let step = blocks.min(step_max);
        if step == 0 {
            return file.sync_all();
        }
        // Space has its own administration, so that not all of what is free can be had in one piece.
        match fallocate(&file, FallocateFlags::empty(), file.metadata()?.len(), step * stat.f_frsize) {
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::NOSPC) => step_max = step / 2,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the file, if there is one, and syncs that: blocks are free for others when their freeing is committed.
fn give_space(ballast: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(ballast) {
        Ok(file) => {
            // Removed alone it would keep its blocks while anybody has it open, a child between fork and exec too.
            file.set_len(0)?;
            file.sync_all()?;
            fs::remove_file(ballast)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
