//! The disk: where it is, which kind it is, and how it goes away.
//!
//! ```text
//!  home/n1.4711.image       the file system's bytes: process 4711's disk `n1`
//!  home/n1.4711.disk/       where it is mounted
//!  home/n1.4711.disk/data/  the node's
//!  home/n1.4711.plain/data/ the same where nothing can be mounted
//! ```

use super::DiskError;
use super::image::{self, Image};
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A disk for one node. It and all that is on it go away with the value.
#[derive(Debug)]
pub struct Disk {
    data: PathBuf,
    pub(super) backing: Backing,
}

/// What holds the bytes.
#[derive(Debug)]
pub(super) enum Backing {
    /// A file system of its own.
    Mounted(Image),
    /// A directory of another file system.
    Plain { directory: PathBuf, why: String },
}

/// Which kind of disk it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file system of its own: everything can be done to it.
    Mounted {
        /// The loop device, `loop7`.
        device: String,
    },
    /// A plain directory: its files can be damaged, and nothing else.
    Plain {
        /// Why it is no more than that.
        why: String,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { device } => write!(f, "ext4 on /dev/{device}"),
            Self::Plain { why } => write!(f, "a plain directory, for {why}"),
        }
    }
}

impl Disk {
    /// A file system of `bytes` bytes (16 MiB at least), mounted below `home`. Wants root, loop devices and
    /// `mkfs.ext4`. `name` is unique in this process and `home`.
    pub fn new(home: &Path, name: &str, bytes: u64) -> Result<Self, DiskError> {
        let (file, root) = (place(home, name, "image")?, place(home, name, "disk")?);
        let image = Image::make(file, root, bytes)?;
        let data = make_data(image.root())?;
        Ok(Self { data, backing: Backing::Mounted(image) })
    }

    /// A plain directory below `home`.
    pub fn plain(home: &Path, name: &str) -> Result<Self, DiskError> {
        Self::plain_because(home, name, "it was asked for".to_owned())
    }

    /// A file system of its own where that is possible, else a plain directory; [`Disk::kind`] says which and why.
    pub fn best(home: &Path, name: &str, bytes: u64) -> Result<Self, DiskError> {
        Self::new(home, name, bytes).or_else(|error| Self::plain_because(home, name, error.to_string()))
    }

    fn plain_because(home: &Path, name: &str, why: String) -> Result<Self, DiskError> {
        let directory = place(home, name, "plain")?;
        fs::create_dir(&directory).map_err(DiskError::io(|| format!("create {}", directory.display())))?;
        let data = make_data(&directory)?;
        Ok(Self { data, backing: Backing::Plain { directory, why } })
    }

    /// The directory for the node's data; the same before and after all that is done to the disk.
    pub fn path(&self) -> &Path {
        &self.data
    }

    /// Which kind of disk it is, and why.
    pub fn kind(&self) -> Kind {
        match &self.backing {
            Backing::Mounted(image) => Kind::Mounted { device: image.device().to_owned() },
            Backing::Plain { why, .. } => Kind::Plain { why: why.clone() },
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Backing::Plain { directory, .. } = &self.backing {
            fs::remove_dir_all(directory).ok();
        }
    }
}

/// Makes the node's directory; a power failure does not take it away.
fn make_data(root: &Path) -> Result<PathBuf, DiskError> {
    let data = root.join("data");
    let made = fs::create_dir(&data).and_then(|()| File::open(root)?.sync_all());
    made.map_err(DiskError::io(|| format!("create {}", data.display())))?;
    Ok(data)
}

/// Where the part of a disk with this ending is. Removes first what processes that are dead have left in `home`.
fn place(home: &Path, name: &str, ending: &str) -> Result<PathBuf, DiskError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(DiskError::Name(name.to_owned()));
    }
    // The kernel names the files of loop devices by their whole path.
    let home = fs::create_dir_all(home).and_then(|()| home.canonicalize());
    let home = home.map_err(DiskError::io(|| format!("make a place for the disk {name}")))?;
    remove_leftovers(&home).map_err(DiskError::io(|| format!("look for leftovers in {}", home.display())))?;
    Ok(home.join(format!("{name}.{}.{ending}", std::process::id())))
}

/// Unmounts and removes the disks of processes that are dead.
fn remove_leftovers(home: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        let parts: Vec<&str> = path.file_name().and_then(|name| name.to_str()).unwrap_or("").split('.').collect();
        let [name, process, ending] = parts[..] else { continue };
        let is_dead = |process: u32| !Path::new(&format!("/proc/{process}")).exists();
        if !process.parse().is_ok_and(is_dead) {
            continue;
        }
        match ending {
            "image" | "disk" => {
                image::remove(
                    &home.join(format!("{name}.{process}.image")),
                    &home.join(format!("{name}.{process}.disk")),
                );
            }
            "plain" => fs::remove_dir_all(&path)?,
            _ => {}
        }
    }
    Ok(())
}
