//! Records: what a file holds of one key.

use bytes::Bytes;
use lentic_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::csv::CsvRecords;
use super::jsonl::JsonlRecords;

/// Most bytes of one record in a file. A byte takes up to six characters, as `\u0001` in JSON.
pub(super) const RECORD_BYTES_MAX: usize = 7 * (KEY_BYTES_MAX + VALUE_BYTES_MAX);

const _: () =
    assert!(RECORD_BYTES_MAX > 6 * (KEY_BYTES_MAX + VALUE_BYTES_MAX), "the largest record can be loaded again");

/// A key, its value, and when that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line of the file on which it begins, from 1.
    pub(super) line: u64,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(super) expires_unix_ms: Option<u64>,
}

impl Record {
    /// What it holds of memory.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// A record that cannot be read, or that no key and value can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(super) struct RecordError {
    pub(super) line: u64,
    pub(super) message: String,
}

impl RecordError {
    pub(super) fn new(line: u64, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }

    pub(super) fn too_large(line: u64) -> Self {
        let message =
            format!("a record that begins here has more than {RECORD_BYTES_MAX} bytes; is a quote left open?");
        Self::new(line, message)
    }
}

/// The records of a file, in order.
pub(super) enum Records {
    Csv(CsvRecords),
    Jsonl(JsonlRecords),
}

impl Records {
    /// The next record, `None` after the last. After an error nothing follows.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RecordError> {
        match self {
            Self::Csv(records) => records.next(),
            Self::Jsonl(records) => records.next(),
        }
    }

    /// Steps over a record without making a key and a value of it. Whether there was one.
    pub(super) fn skip(&mut self) -> Result<bool, RecordError> {
        match self {
            Self::Csv(records) => records.skip(),
            Self::Jsonl(records) => records.skip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{csv, jsonl};
    use super::*;
    use crate::bulk::recipe::Recipe;
    use lentic_client::{Row, Version};
    use proptest::prelude::*;
    use std::io::Cursor;

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let bytes = || prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)];
        // Times that RFC 3339 can write.
        let end = proptest::option::of(0u64..200_000_000_000_000);
        let row = (bytes(), bytes(), any::<u64>(), end);
        proptest::collection::vec(row, 0..8).prop_map(|rows| {
            let row = |(key, value, version, expires_unix_ms): (Vec<u8>, Vec<u8>, _, _)| Row {
                key: key.into(),
                value: value.into(),
                version: Version(version),
                expires_unix_ms,
            };
            rows.into_iter().map(row).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_dumped_is_loaded(rows in rows()) {
            let (mut in_csv, mut in_jsonl) = (Vec::new(), Vec::new());
            csv::write_heading(&mut in_csv);
            for row in &rows {
                csv::write_row(&mut in_csv, row);
                jsonl::write_row(&mut in_jsonl, row);
            }
            let records = [
                Records::Csv(CsvRecords::new(Box::new(Cursor::new(in_csv)), b',', Recipe::Dumped).unwrap()),
                Records::Jsonl(JsonlRecords::new(Box::new(Cursor::new(in_jsonl)), Recipe::Dumped)),
            ];
            for mut records in records {
                for row in &rows {
                    let read = records.next().unwrap().unwrap();
                    prop_assert_eq!((&read.key, &read.value), (&row.key, &row.value));
                    prop_assert_eq!(read.expires_unix_ms, row.expires_unix_ms);
                }
                prop_assert_eq!(records.next(), Ok(None));
            }
        }

        #[test]
        fn any_file_is_read_or_refused(bytes: Vec<u8>) {
            let dumped = || "{a}".parse().unwrap();
            for recipe in [Recipe::Dumped, Recipe::Made { key: dumped(), value: crate::bulk::recipe::ValueRecipe::Row }] {
                for heading in ["", "key,value,a\n"] {
                    let file = [heading.as_bytes(), &bytes[..]].concat();
                    if let Ok(mut records) = CsvRecords::new(Box::new(Cursor::new(file)), b',', recipe.clone()) {
                        while let Ok(Some(_)) = records.next() {}
                    }
                }
                let mut records = JsonlRecords::new(Box::new(Cursor::new(bytes.clone())), recipe);
                while let Ok(Some(_)) = records.next() {}
            }
        }
    }
}
