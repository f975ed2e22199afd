//! Whether all this works on this machine: a test that passed on a disk that loses nothing has proved nothing.

use super::{Disk, DiskError};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

/// What is synced, and what is not.
const KEPT: &[u8] = b"synced";
const LOST: &[u8] = b", and then not synced";

impl Disk {
    /// Proves, before any node is started, that a power cut loses what is not synced and keeps what is, that a full disk
    /// refuses a write and that a read-only one does. Says what was measured.
    pub fn probe(&mut self) -> Result<Vec<String>, DiskError> {
        let directory = self.path().join("probe");
        let found = fs::create_dir(&directory).map_err(DiskError::io(|| format!("create {}", directory.display())));
        let found = found.and_then(|()| {
            Ok(vec![self.probe_power(&directory)?, self.probe_space(&directory)?, self.probe_read_only(&directory)?])
        });
        // After a failure it may be that nothing can be removed.
        fs::remove_dir_all(&directory).and_then(|()| File::open(self.path())?.sync_all()).ok();
        found
    }

    fn probe_power(&mut self, directory: &Path) -> Result<String, DiskError> {
        let (kept, lost) = (directory.join("kept"), directory.join("lost"));
        let mut open = write(&kept, KEPT).and_then(|file| file.sync_all().map(|()| file)).map_err(doing("write"))?;
        open.write_all(LOST).and_then(|()| write(&lost, LOST)).map_err(doing("write"))?;
        self.cut_power()?;
        let written = open.write_all(LOST);
        expect(written.is_err(), "a write after a power cut to be refused, and it was not")?;
        drop(open);
        let start = Instant::now();
        self.restore()?;
        let took = start.elapsed();
        let found = fs::read(&kept).map_err(doing("read what was synced"))?;
        expect(found == KEPT, &format!("what was synced and no more, found `{}`", String::from_utf8_lossy(&found)))?;
        expect(!lost.exists(), "a file that was not synced to be gone, and it is there")?;
        Ok(format!("a power cut loses what was not synced and keeps what was; restored in {} ms", took.as_millis()))
    }

    fn probe_space(&mut self, directory: &Path) -> Result<String, DiskError> {
        self.fill(0)?;
        let refused = write(&directory.join("large"), KEPT).and_then(|file| file.sync_all());
        self.free()?;
        let words = format!("a write to a full disk to be refused, found {refused:?}");
        expect(refused.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull), &words)?;
        write(&directory.join("large"), KEPT).map_err(doing("write with space again"))?;
        Ok("a full disk refuses a write, and takes it when space is freed".to_owned())
    }

    fn probe_read_only(&mut self, directory: &Path) -> Result<String, DiskError> {
        let mut open = write(&directory.join("open"), KEPT).map_err(doing("write"))?;
        self.turn_read_only()?;
        let refused = open.write_all(LOST);
        drop(open);
        self.restore()?;
        let words = format!("a write to a read-only disk to be refused, found {refused:?}");
        expect(refused.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem), &words)?;
        write(&directory.join("open"), KEPT).map_err(doing("write after it was read-only"))?;
        Ok("a read-only disk refuses a write to an open file, and takes it when restored".to_owned())
    }
}

/// A new file with this in it, open.
fn write(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn doing(what: &'static str) -> impl FnOnce(io::Error) -> DiskError {
    DiskError::io(move || format!("probe a disk: {what}"))
}

fn expect(holds: bool, what: &str) -> Result<(), DiskError> {
    if holds { Ok(()) } else { Err(DiskError::Unfit(format!("this disk proves nothing: expected {what}"))) }
}
