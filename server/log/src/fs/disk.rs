//! A directory of the operating system.

use super::{DirLock, File, Fs, LockError};
use lentic_files::DirectoryLock;
use lentic_types::mutant;
use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A directory on disk. A local file system is assumed: fdatasync over a network means less.
pub struct DiskFs {
    directory: PathBuf,
    start: Instant,
}

impl DiskFs {
    /// The log's own directory; it is made when the log is opened, if it is missing.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), start: Instant::now() }
    }

    fn sync(directory: &Path) -> io::Result<()> {
        fs::File::open(directory)?.sync_all()
    }

    /// Makes the directory and everything above it, each name durable before anything is kept below it.
    fn make(directory: &Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::make(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Self::sync(parent),
        }
    }
}

impl Fs for DiskFs {
    fn lock(&self) -> Result<DirLock, LockError> {
        Self::make(&self.directory).map_err(LockError::Io)?;
        let lock = DirectoryLock::take(&self.directory).map_err(|error| match error {
            lentic_files::LockError::Held(process) => LockError::Held { process },
            lentic_files::LockError::Io(error) => LockError::Io(error),
        })?;
        Ok(DirLock::new(lock))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.directory.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.directory.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        Self::sync(&self.directory)
    }

    fn path(&self, name: &str) -> String {
        match name {
            "." => self.directory.display().to_string(),
            name => self.directory.join(name).display().to_string(),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

struct DiskFile(fs::File);

impl File for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if mutant!("disk-not-synced") {
            return Ok(());
        }
        self.0.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if self.length()? >= bytes {
            return Ok(());
        }
        match retry_on_intr(|| rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes)) {
            // The file system cannot reserve: the length is still set, so that a file that was cut is told by it.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.set_len(bytes),
            result => Ok(result?),
        }
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}
