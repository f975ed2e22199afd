//! What a table has, in a few numbers that two ends can compare.

use std::fmt;

use crc32fast::Hasher;
use lentic_client::Row;
use serde::Serialize;

use crate::text::{count, quantity_of_bytes};

/// What a table has. Values that end by themselves may have ended at one of two ends, and are only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Digest {
    /// Rows that do not end.
    pub(super) rows: u64,
    /// Bytes of their keys and values.
    pub(super) bytes: u64,
    /// CRC-32 of them, in the order of their keys: of each the length of its key (u32, big-endian), the key, and the same of
    /// its value.
    #[serde(rename = "checksum", serialize_with = "as_hex")]
    pub(super) crc32: u32,
    /// Rows that end.
    pub(super) ending: u64,
}

/// A [`Digest`] of rows that come.
#[derive(Default)]
pub(super) struct Digesting {
    digest: Digest,
    hasher: Hasher,
}

impl Digesting {
    /// Takes the next row.
    pub(super) fn take(&mut self, row: &Row) {
        if row.expires_unix_ms.is_some() {
            self.digest.ending += 1;
            return;
        }
        self.digest.rows += 1;
        for part in [&row.key, &row.value] {
            self.digest.bytes += part.len() as u64;
            let length = u32::try_from(part.len()).expect("keys and values have limits");
            self.hasher.update(&length.to_be_bytes());
            self.hasher.update(part);
        }
    }

    pub(super) const fn rows(&self) -> u64 {
        self.digest.rows + self.digest.ending
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.digest.bytes
    }

    pub(super) fn finish(self) -> Digest {
        Digest { crc32: self.hasher.finalize(), ..self.digest }
    }
}

impl Digest {
    /// Whether this can be all that is left of a copy of `sent`.
    pub(super) fn is_copy_of(&self, sent: &Self) -> bool {
        let ending = self.ending;
        ending <= sent.ending && *self == Self { ending, ..*sent }
    }

    /// The checksum in hex digits.
    pub(super) fn checksum(&self) -> String {
        format!("{:08x}", self.crc32)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, bytes) = (count(self.rows), quantity_of_bytes(self.bytes));
        write!(f, "{rows} rows, {bytes}, CRC-32 {}", self.checksum())?;
        match self.ending {
            0 => Ok(()),
            ending => write!(f, ", and {} that end by themselves", count(ending)),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_hex<S: serde::Serializer>(crc32: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{crc32:08x}"))
}

#[cfg(test)]
mod tests {
    use lentic_client::Version;

    use super::*;

    fn digest(rows: &[(&str, &str, Option<u64>)]) -> Digest {
        let mut digesting = Digesting::default();
        for (key, value, expires_unix_ms) in rows.iter().copied() {
            let (key, value) = (key.to_owned().into(), value.to_owned().into());
            digesting.take(&Row { key, value, version: Version(1), expires_unix_ms });
        }
        digesting.finish()
    }

    #[test]
    fn a_copy_has_the_same_rows_and_perhaps_fewer_that_end() {
        let sent = digest(&[("a", "1", None), ("b", "2", Some(7)), ("c", "3", None)]);
        assert_eq!((sent.rows, sent.bytes, sent.ending), (2, 4, 1));
        assert_eq!(sent.crc32, crc32fast::hash(b"\0\0\0\x01a\0\0\0\x011\0\0\0\x01c\0\0\0\x013"));
        assert!(sent.is_copy_of(&sent));
        assert!(digest(&[("a", "1", None), ("c", "3", None)]).is_copy_of(&sent));
        for other in [
            &[("a", "1", None), ("c", "3", None), ("d", "4", None)][..],
            &[("a", "1", None)],
            &[("a", "13", None), ("c", "", None)],
            &[("a", "1", None), ("b", "2", None), ("c", "3", None)],
            &[("a", "1", None), ("b", "2", Some(7)), ("b", "3", Some(7)), ("c", "3", None)],
        ] {
            assert!(!digest(other).is_copy_of(&sent), "{other:?}");
        }
        assert!(sent.to_string().ends_with(", and 1 that end by themselves"), "{sent}");
    }
}
