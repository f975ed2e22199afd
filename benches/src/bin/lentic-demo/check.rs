//! What is there against what must be.

use std::collections::BTreeMap;

use lentic_client::{KeyRange, Table, Version};

use crate::Failure;

/// A table as it was read.
pub(crate) struct Found {
    pub(crate) rows: u64,
    /// CRC-32 of all keys and values in their order.
    pub(crate) checksum: u32,
}

/// Reads the whole of a table, at a version if one is given, and compares it with `expected`, byte by byte.
pub(crate) async fn rows(
    table: &Table,
    at: Option<Version>,
    expected: &BTreeMap<String, String>,
) -> Result<Found, Failure> {
    let mut scan = table.scan(KeyRange::all());
    if let Some(at) = at {
        scan = scan.at(at);
    }
    let (mut scan, mut expected, mut rows, mut crc) = (scan.start(), expected.iter(), 0, crc32fast::Hasher::new());
    while let Some(row) = scan.next().await {
        let row = row.map_err(|error| format!("a scan failed: {error}"))?;
        let wanted = expected.next().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        if wanted != Some((&row.key[..], &row.value[..])) {
            let words = |(key, value)| format!("{} = {}", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            let wanted = wanted.map_or_else(|| "the end of the table".to_owned(), words);
            return Err(format!("after {rows} rows: expected {wanted}, found {}", words((&row.key, &row.value))));
        }
        crc.update(&row.key);
        crc.update(&row.value);
        rows += 1;
    }
    match expected.next() {
        Some((key, _)) => Err(format!("the table ends after {rows} rows: {key} is lost")),
        None => Ok(Found { rows, checksum: crc.finalize() }),
    }
}

/// The checksum that [`rows`] must find.
pub(crate) fn checksum(rows: &BTreeMap<String, String>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for (key, value) in rows {
        crc.update(key.as_bytes());
        crc.update(value.as_bytes());
    }
    crc.finalize()
}

/// Reads a table of counters and compares each with `expected`.
pub(crate) async fn counters(table: &Table, expected: &BTreeMap<String, i64>) -> Result<(), Failure> {
    let mut found = BTreeMap::new();
    let mut scan = table.scan(KeyRange::all()).start();
    while let Some(row) = scan.next().await {
        let row = row.map_err(|error| format!("a scan failed: {error}"))?;
        let counter = row.as_i64().ok_or_else(|| format!("{:?} is no counter", row.key))?;
        found.insert(String::from_utf8_lossy(&row.key).into_owned(), counter);
    }
    let keys = expected.keys().chain(found.keys());
    let wrong = keys.into_iter().find(|key| expected.get(*key) != found.get(*key));
    match wrong {
        Some(key) => {
            let (expected, found) = (expected.get(key).unwrap_or(&0), found.get(key).unwrap_or(&0));
            Err(format!("{key} was counted {found} times, expected {expected}"))
        }
        None => Ok(()),
    }
}
