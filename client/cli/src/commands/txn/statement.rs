//! Statements: what a script asks for, whatever the notation, and how that is written.
//!
//! As text they are written with escapes, and as JSON with hex digits where bytes are no text; both read back.

use std::fmt;

use bytes::Bytes;
use lentic_client::{KeyRange, MergeOperator, Version};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::output::{bytes_member, version_text};
use crate::text::{Hex, Span, Strict, operand_words};

/// A statement of a script.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    /// Its line in the script, from 1.
    pub(super) line: usize,
    /// The table that it is about.
    pub(super) table: String,
    pub(super) action: Action,
}

/// What a statement does in its table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Get { key: Bytes },
    Scan { range: KeyRange, limit: Option<u64> },
    Put { key: Bytes, value: Bytes, ttl: Option<Span> },
    Delete { key: Bytes },
    DeleteRange { range: KeyRange },
    Merge { key: Bytes, operator: MergeOperator, operand: Bytes, ttl: Option<Span> },
    Require { key: Bytes, condition: Condition },
    Fence { token: u64 },
}

/// What is required of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Exists,
    Absent,
    Value(Bytes),
    Version(Version),
}

impl Action {
    /// Its word in both notations.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Scan { .. } => "scan",
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::DeleteRange { .. } => "delete-range",
            Self::Merge { .. } => "merge",
            Self::Require { .. } => "require",
            Self::Fence { .. } => "fence",
        }
    }

    pub(super) const fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Scan { .. })
    }

    pub(super) const fn is_condition(&self) -> bool {
        matches!(self, Self::Require { .. })
    }

    pub(super) const fn is_write(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Delete { .. } | Self::DeleteRange { .. } | Self::Merge { .. })
    }

    /// How long its value lives, if it says so.
    pub(super) const fn ttl(&self) -> Option<Span> {
        match self {
            Self::Put { ttl, .. } | Self::Merge { ttl, .. } => *ttl,
            _ => None,
        }
    }

    /// The words behind the table.
    fn words(&self) -> Vec<String> {
        let mut words = match self {
            Self::Get { key } | Self::Delete { key } => vec![quoted(key)],
            Self::Scan { range, .. } | Self::DeleteRange { range } => range_words(range),
            Self::Put { key, value, .. } => vec![quoted(key), quoted(value)],
            Self::Merge { key, operator, operand, .. } => {
                let operands = operand_words(*operator, operand).into_iter().map(|word| quoted(&word));
                [quoted(key), operator.name().to_owned()].into_iter().chain(operands).collect()
            }
            Self::Require { key, condition } => match condition {
                Condition::Exists => vec![quoted(key), "exists".to_owned()],
                Condition::Absent => vec![quoted(key), "absent".to_owned()],
                Condition::Value(value) => vec![quoted(key), "value".to_owned(), quoted(value)],
                Condition::Version(version) => vec![quoted(key), "version".to_owned(), version.to_string()],
            },
            Self::Fence { token } => vec![token.to_string()],
        };
        if let Self::Scan { limit: Some(limit), .. } = self {
            words.extend(["--limit".to_owned(), limit.to_string()]);
        }
        if let Some(ttl) = self.ttl() {
            words.extend(["--ttl".to_owned(), ttl.to_string()]);
        }
        words
    }
}

fn range_words(range: &KeyRange) -> Vec<String> {
    match range.end() {
        Some(end) => vec![quoted(range.start()), quoted(end)],
        None if range.start().is_empty() => Vec::new(),
        None => vec![quoted(range.start())],
    }
}

/// A word in the escaped syntax, in quotes if it needs them.
fn quoted(bytes: &[u8]) -> String {
    let word = Strict(bytes).to_string();
    let is_bare =
        !word.is_empty() && !word.contains([' ', '\'', '"']) && !word.starts_with('#') && !word.starts_with("--");
    if is_bare { word } else { format!("'{}'", word.replace('\'', "\\x27")) }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action.word(), quoted(self.table.as_bytes()))?;
        self.action.words().iter().try_for_each(|word| write!(f, " {word}"))
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.action.word(), &Members(self))?;
        map.end()
    }
}

/// What stands behind a statement's word.
struct Members<'a>(&'a Statement);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("table", &self.0.table)?;
        match &self.0.action {
            Action::Get { key } | Action::Delete { key } => bytes_member(&mut map, "key", key)?,
            Action::Scan { range, .. } | Action::DeleteRange { range } => range_members(&mut map, range)?,
            Action::Put { key, value, .. } => {
                bytes_member(&mut map, "key", key)?;
                bytes_member(&mut map, "value", value)?;
            }
            Action::Merge { key, operator, operand, .. } => {
                bytes_member(&mut map, "key", key)?;
                map.serialize_entry("operator", operator.name())?;
                operand_member(&mut map, &operand_words(*operator, operand))?;
            }
            Action::Require { key, condition } => {
                bytes_member(&mut map, "key", key)?;
                condition_member(&mut map, condition)?;
            }
            Action::Fence { token } => map.serialize_entry("token", token)?,
        }
        if let Action::Scan { limit: Some(limit), .. } = &self.0.action {
            map.serialize_entry("limit", limit)?;
        }
        if let Some(ttl) = self.0.action.ttl() {
            map.serialize_entry("ttl", &ttl.to_string())?;
        }
        map.end()
    }
}

fn range_members<M: SerializeMap>(map: &mut M, range: &KeyRange) -> Result<(), M::Error> {
    if !range.start().is_empty() || range.end().is_some() {
        bytes_member(map, "start", range.start())?;
    }
    range.end().map_or(Ok(()), |end| bytes_member(map, "end", end))
}

/// One operand by itself, several as a list.
fn operand_member<M: SerializeMap>(map: &mut M, words: &[Vec<u8>]) -> Result<(), M::Error> {
    let texts: Option<Vec<String>> = words.iter().map(|word| String::from_utf8(word.clone()).ok()).collect();
    let (name, words) = match texts {
        Some(texts) => ("operand", texts),
        None => ("operand_hex", words.iter().map(|word| Hex(word).to_string()).collect()),
    };
    match &words[..] {
        [word] => map.serialize_entry(name, word),
        words => map.serialize_entry(name, words),
    }
}

fn condition_member<M: SerializeMap>(map: &mut M, condition: &Condition) -> Result<(), M::Error> {
    match condition {
        Condition::Exists => map.serialize_entry("exists", &true),
        Condition::Absent => map.serialize_entry("absent", &true),
        Condition::Value(value) => bytes_member(map, "value", value),
        Condition::Version(version) => map.serialize_entry("version", &version_text(*version)),
    }
}
