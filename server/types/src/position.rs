//! How far a feed has come.

use std::fmt;

use bytes::Bytes;

use crate::Version;

/// How far a feed of a key range has come, in the order of its changes: by version, and in a version by key.
///
/// ```text
///   changes   (v10, a)  (v10, k)  (v20, b) │ (v20, c)  (v20, z)  (v31, a)
///                                          └─ version v20, key b: the next is (v20, c)
/// ```
///
/// It says nothing of shards, so it holds for every part of its range: a range may be cut anywhere, and each part goes on
/// from the position of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Everything below this version was given.
    pub version: Version,
    /// Of this version, the changes up to this key were given; `None`: all of it.
    pub key: Option<Bytes>,
}

impl Position {
    /// All of `version`, and everything below it, was given.
    #[must_use]
    pub const fn after(version: Version) -> Self {
        Self { version, key: None }
    }

    /// Of `version` the changes up to `key` were given.
    #[must_use]
    pub const fn within(version: Version, key: Bytes) -> Self {
        Self { version, key: Some(key) }
    }

    /// The newest version of which all was given.
    #[must_use]
    pub const fn complete(&self) -> Version {
        match self.key {
            None => self.version,
            Some(_) => Version(self.version.0.saturating_sub(1)),
        }
    }

    /// Whether everything that `other` has passed was given.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match &other.key {
            None => self.complete() >= other.version,
            Some(key) => self.has_passed(other.version, key),
        }
    }

    /// Whether the change of `key` at `version` was given.
    #[must_use]
    pub fn has_passed(&self, version: Version, key: &[u8]) -> bool {
        version < self.version || (version == self.version && self.key.as_ref().is_none_or(|last| *key <= **last))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            None => write!(f, "{}", self.version),
            Some(key) => write!(f, "{} up to {}", self.version, key.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_divides_changes() {
        let rows = [
            (Position::after(Version(20)), Version(20), (20, "z"), (21, "")),
            (Position::within(Version(20), "b".into()), Version(19), (20, "b"), (20, "b\0")),
            (Position::within(Version(20), Bytes::new()), Version(19), (20, ""), (20, "\0")),
        ];
        for (position, complete, (passed, passed_key), (next, next_key)) in rows {
            assert_eq!(position.complete(), complete);
            assert!(position.has_passed(Version(passed), passed_key.as_bytes()), "{position} has {passed_key}");
            assert!(!position.has_passed(Version(next), next_key.as_bytes()), "{position} has not {next_key}");
            assert!(position.includes(&position) && position.includes(&Position::after(complete)));
            assert!(!position.includes(&Position::within(Version(next), Bytes::from_static(next_key.as_bytes()))));
            assert!(!Position::after(complete).includes(&position) || position.key.is_none());
        }
    }
}
