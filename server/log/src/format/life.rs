//! The number of a segment, the names of its file, and the seed of its checksums.

use lentic_types::ClusterId;

/// The number of a segment: it orders the files, and no two lives of a file share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence(pub(crate) u32);

impl Sequence {
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log has fewer than 2^32 segments"))
    }

    /// The name of the segment's file.
    pub(crate) fn file_name(self) -> String {
        format!("{:08}.log", self.0)
    }

    /// The name of a file that holds nothing and waits to become a segment.
    pub(crate) fn spare_name(self) -> String {
        format!("spare-{:08}", self.0)
    }

    /// The segment with this file name, if it is one.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let sequence = Self(name.strip_suffix(".log")?.parse().ok()?);
        (sequence.file_name() == name && sequence.0 > 0).then_some(sequence)
    }

    /// Whether this is the name of a spare file.
    pub(crate) fn is_spare_name(name: &str) -> bool {
        name.strip_prefix("spare-").and_then(|digits| digits.parse().ok()).is_some_and(|n| Self(n).spare_name() == name)
    }
}

/// The start value of the checksums inside one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(cluster: ClusterId, sequence: Sequence) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&cluster.0);
        hasher.update(&sequence.0.to_be_bytes());
        Self(hasher.finalize())
    }

    /// The seeded checksum of `bytes`.
    pub(crate) fn crc(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_in_their_only_form() {
        for sequence in [1, 99_999_999, 100_000_000, u32::MAX].map(Sequence) {
            assert_eq!(Sequence::from_file_name(&sequence.file_name()), Some(sequence));
            assert!(Sequence::is_spare_name(&sequence.spare_name()));
        }
        for name in ["1.log", "00000000.log", "+0000001.log", "00000001.lo", "LOCK", "spare-00000001"] {
            assert_eq!(Sequence::from_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_checksum_of_one_life_never_passes_in_another() {
        let cluster = ClusterId([7; 16]);
        let crcs: std::collections::BTreeSet<u32> =
            (1..10_000).map(|sequence| Seed::new(cluster, Sequence(sequence)).crc(b"the same bytes")).collect();
        assert_eq!(crcs.len(), 9_999);
    }
}
