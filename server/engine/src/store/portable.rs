//! A group's state on its way from one store to another.
//!
//! ```text
//!   sender                                     receiver
//!   export ─▶ files ─▶ read, piece by piece ─▶ import ─▶ write, piece by piece ─▶ install
//!             └ of one moment                  └ scratch: the store is as it was    └ checked as a whole, then in
//! ```
//!
//! What comes over a network is checked before anything of the store changes: names, sizes, checksums, and that no
//! key lies outside of the spans. Files go between stores of one kind; what is in them is the store's own matter.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

use super::{Family, Metric, Span, Store, StoreError};

/// Most files of one export: with files of 64 MiB, 6 TiB.
pub const FILES_MAX: usize = 100_000;

/// A file of an export, as it is announced to the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortableFile {
    /// Its name, which tells the family: `data-000012.sst`.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32 of all its bytes (the polynomial of zlib).
    pub crc32: u32,
}

/// Why state did not come out of a store, or did not go into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The store itself failed: fatal as any [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused something beside the store. The store is as it was; try again later.
    #[error("could not {action} {}: {reason}; check the space and the rights there, then try again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The caller's ranges overlap, or are not in order.
    #[error("expected ranges in order and apart from each other, found {} behind a range that reaches into it", found.escape_ascii())]
    Ranges {
        /// The first key of the range at fault.
        found: Vec<u8>,
    },
    /// A file is not one that may go in. The store is as it was; ask for all files again.
    #[error("file {name} is refused: {reason}; send all files again, from one export of the same ranges")]
    Refused {
        /// The file's name, escaped.
        name: String,
        /// What was expected, and what was found.
        reason: String,
    },
}

impl TransferError {
    /// The refusal of the file `name`.
    pub fn refused(name: &str, reason: impl Into<String>) -> Self {
        Self::Refused { name: name.escape_default().to_string(), reason: reason.into() }
    }
}

/// A store whose ranges can leave and arrive as files, and what else a node asks of its store.
///
/// All of it may hold its thread for long, but for [`request_flush`](Self::request_flush).
pub trait Portable: Store {
    /// What leaves.
    type Export: Export;
    /// What arrives.
    type Import: Import;

    /// What `spans` hold at one moment, in files. The values of `keys` at the same moment come with it: what the
    /// sender must know of what it sends. Spans are in order and apart, and none is [being
    /// replaced](Self::install).
    fn export(&self, spans: &[Span], keys: &[(Family, Vec<u8>)]) -> Result<Self::Export, TransferError>;

    /// A place for files that arrive. The store does not change until they are [installed](Self::install).
    fn import(&self) -> Result<Self::Import, TransferError>;

    /// Replaces everything in `spans` by the contents of `files`, all of which `import` has received. Durable when it
    /// returns. Nobody may read or write the spans meanwhile; other ranges go on.
    ///
    /// With an error other than [`TransferError::Store`] the store is as it was. After a crash in the middle the spans hold
    /// all of what was, or all of what comes, as soon as the store is open again.
    fn install(&self, import: Self::Import, spans: &[Span], files: &[PortableFile]) -> Result<(), TransferError>;

    /// Removes everything in `spans`, durably: a replica that has left this node. As [`install`](Self::install), all or nothing.
    fn clear(&self, spans: &[Span]) -> Result<(), TransferError> {
        self.install(self.import()?, spans, &[])
    }

    /// About how many bytes each of `spans` takes on disk, of all versions and deletes, as they are compressed there. What
    /// lies in memory may be missing, and a span smaller than a block may count for none.
    fn disk_bytes(&self, spans: &[Span]) -> Result<Vec<u64>, StoreError>;

    /// Starts to make everything written so far durable, and does not wait for it.
    fn request_flush(&self) -> Result<(), StoreError>;

    /// Chores of the store that are nobody's command: makes GC rules active, removes what hides nothing any more.
    /// Call it every second or so.
    fn maintain(&self) -> Result<(), StoreError>;

    /// Figures for an operator. It may cost some tens of questions to the store: for a scrape, not for a request.
    fn metrics(&self) -> Vec<Metric>;
}

/// Files of one moment. Dropping it removes them. It outlives its store only to be dropped.
pub trait Export: Send + Sync + 'static {
    /// The files, in the order in which they are to be installed. None, if the spans are empty.
    fn files(&self) -> &[PortableFile];
    /// The values of the keys that were asked for, in their order.
    fn values(&self) -> &[Option<Vec<u8>>];
    /// Up to `bytes_max` bytes of the file at position `file` from `offset` on; none at its end and beyond.
    ///
    /// # Panics
    /// If there is no such file.
    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, TransferError>;
}

/// Files that arrive. Dropping it removes them.
pub trait Import: Send + Sync + 'static {
    /// Takes the bytes of `file` from `offset` on. Parts of a file come in their order; a part may come twice.
    ///
    /// [`TransferError::Refused`] for a name that no export has, for bytes beyond the file's end, and for a gap; what
    /// was received before stays.
    fn write(&mut self, file: &PortableFile, offset: u64, bytes: &[u8]) -> Result<(), TransferError>;
}

/// Refuses spans that are not in order, or not apart. For implementers.
pub fn check_spans(spans: &[Span]) -> Result<(), TransferError> {
    match spans.windows(2).find(|pair| !pair[0].is_before(&pair[1])) {
        Some(pair) => Err(TransferError::Ranges { found: pair[1].lower.clone() }),
        None => Ok(()),
    }
}

/// The name of the export's file `number`, of entries of `family`. For implementers.
#[must_use]
pub fn file_name(family: Family, number: usize, extension: &str) -> String {
    format!("{}-{number:06}.{extension}", family.name())
}

/// The family of a file by its name. A name becomes part of a path on the receiver, so one that [`file_name`] does
/// not make is refused. For implementers.
pub fn family_of(name: &str, extension: &str) -> Result<Family, TransferError> {
    let parse = || {
        let (family, rest) = name.split_once('-')?;
        let family = Family::ALL.into_iter().find(|known| known.name() == family)?;
        let number = rest.strip_suffix(extension)?.strip_suffix('.')?.parse().ok()?;
        (number < FILES_MAX && file_name(family, number, extension) == name).then_some(family)
    };
    parse().ok_or_else(|| {
        let reason =
            format!("expected a name like {}, of a file of this kind of store", file_name(Family::Data, 0, extension));
        TransferError::refused(name, reason)
    })
}

/// How much of each file has arrived. For implementers.
#[derive(Debug, Default)]
pub struct Received {
    bytes_by_name: BTreeMap<String, u64>,
}

impl Received {
    /// Lets a part in, or refuses it: behind a gap, beyond the file's end, or of too many files. The caller has
    /// checked the name.
    pub fn accept(&mut self, file: &PortableFile, offset: u64, bytes: usize) -> Result<(), TransferError> {
        let refused = |reason| Err(TransferError::refused(&file.name, reason));
        let received = self.bytes_by_name.get(&file.name).copied();
        if received.is_none() && self.bytes_by_name.len() == FILES_MAX {
            return refused(format!("expected at most {FILES_MAX} files, found one more"));
        }
        let received = received.unwrap_or(0);
        if offset > received {
            return refused(format!("expected its bytes from {received} on, found those from {offset} on"));
        }
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= file.bytes => {
                self.bytes_by_name.insert(file.name.clone(), received.max(end));
                Ok(())
            }
            _ => refused(format!("expected {} bytes, found {bytes} more at {offset}", file.bytes)),
        }
    }

    /// Refuses `files` unless they are what has arrived: each once, whole, and none beside them.
    pub fn check(&self, files: &[PortableFile]) -> Result<(), TransferError> {
        let mut others = self.bytes_by_name.clone();
        for file in files {
            match others.remove(&file.name) {
                Some(bytes) if bytes == file.bytes => {}
                Some(bytes) => {
                    let reason = format!("expected {} bytes, found {bytes}", file.bytes);
                    return Err(TransferError::refused(&file.name, reason));
                }
                None => {
                    return Err(TransferError::refused(
                        &file.name,
                        "expected it once, found it missing or named twice",
                    ));
                }
            }
        }
        match others.keys().next() {
            Some(name) => Err(TransferError::refused(name, "expected only files that were announced")),
            None => Ok(()),
        }
    }
}

/// Refuses contents with another checksum than the file's. For implementers.
pub fn check_checksum(file: &PortableFile, found: u32) -> Result<(), TransferError> {
    if found == file.crc32 {
        return Ok(());
    }
    Err(TransferError::refused(&file.name, format!("expected checksum {:08x}, found {found:08x}", file.crc32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_exports_and_no_paths() {
        for (family, number) in [(Family::Data, 0), (Family::Lock, 7), (Family::Sys, FILES_MAX - 1)] {
            assert_eq!(family_of(&file_name(family, number, "sst"), "sst"), Ok(family));
        }
        for name in [
            "",
            "data",
            "data-.sst",
            "data-0.sst",
            "data-000000",
            "data-000000.rows",
            "data-+00000.sst",
            "data--00001.sst",
            "../data-000000.sst",
            "data-000000.sst/../x",
            "/data-000000.sst",
            "DATA-000000.sst",
            "data-100000.sst",
            "data-000000.sst\0",
            "other-000000.sst",
            "data-0000000.sst",
            "data-99999999999999999999999.sst",
            ".",
            "..",
        ] {
            let error = family_of(name, "sst").expect_err(name);
            assert!(matches!(error, TransferError::Refused { .. }), "{error}");
        }
        assert_eq!(
            family_of("../x\n", "sst").unwrap_err().to_string(),
            "file ../x\\n is refused: expected a name like data-000000.sst, of a file of this kind of store; send all files \
             again, from one export of the same ranges"
        );
    }

    #[test]
    fn parts_come_in_order_and_within_the_file() {
        let file = PortableFile { name: "data-000000.sst".into(), bytes: 10, crc32: 0 };
        let mut received = Received::default();
        received.accept(&file, 0, 4).unwrap();
        received.accept(&file, 0, 4).unwrap();
        assert!(received.accept(&file, 5, 1).is_err(), "a gap");
        assert!(received.accept(&file, 4, 7).is_err(), "beyond the end");
        assert!(received.accept(&file, u64::MAX, 1).is_err());
        received.accept(&file, 2, 4).unwrap();
        assert!(received.check(std::slice::from_ref(&file)).is_err(), "not whole");
        received.accept(&file, 6, 4).unwrap();
        received.check(std::slice::from_ref(&file)).unwrap();
        assert!(received.check(&[file.clone(), file.clone()]).is_err(), "named twice");
        assert!(received.check(&[]).is_err(), "not announced");
        let longer = PortableFile { bytes: 11, ..file };
        assert!(received.check(&[longer]).is_err());
    }
}
