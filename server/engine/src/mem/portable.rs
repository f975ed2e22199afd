//! Files of a store in memory: rows of key and value, each with its length.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use lentic_types::codec::{DecodeError, Reader, put_bytes};

use super::{Entries, MemStore, State};
use crate::store::portable::{
    Export, Import, Portable, PortableFile, Received, TransferError, check_checksum, check_spans, family_of, file_name,
};
use crate::store::{Family, Metric, MetricKind, Span, Store, StoreError};

const EXTENSION: &str = "rows";
/// Small, so that a simulation sees states of several files.
const FILE_BYTES: usize = 64 << 10;

/// Files in memory, of one moment.
#[derive(Debug)]
pub struct MemExport {
    files: Vec<PortableFile>,
    contents: Vec<Bytes>,
    values: Vec<Option<Vec<u8>>>,
}

/// Files in memory that arrive.
#[derive(Debug, Default)]
pub struct MemImport {
    received: Received,
    contents: BTreeMap<String, Vec<u8>>,
}

impl Portable for MemStore {
    type Export = MemExport;
    type Import = MemImport;

    fn export(&self, spans: &[Span], keys: &[(Family, Vec<u8>)]) -> Result<MemExport, TransferError> {
        check_spans(spans)?;
        let state = self.read();
        let values = keys.iter().map(|(family, key)| state.families[*family as usize].get(key).cloned()).collect();
        let mut export = MemExport { files: Vec::new(), contents: Vec::new(), values };
        for span in spans {
            let mut rows = Vec::new();
            for (key, value) in range(&state.families[span.family as usize], span) {
                put_bytes(&mut rows, key);
                put_bytes(&mut rows, value);
                if rows.len() >= FILE_BYTES {
                    export.push(span.family, std::mem::take(&mut rows));
                }
            }
            if !rows.is_empty() {
                export.push(span.family, rows);
            }
        }
        Ok(export)
    }

    fn import(&self) -> Result<MemImport, TransferError> {
        Ok(MemImport::default())
    }

    fn install(&self, import: MemImport, spans: &[Span], files: &[PortableFile]) -> Result<(), TransferError> {
        check_spans(spans)?;
        import.received.check(files)?;
        let rows = checked_rows(&import.contents, spans, files)?;
        let mut state = self.lock();
        state.check()?;
        spans.iter().for_each(|span| clear(&mut state, span));
        for ((family, key), value) in rows {
            state.entries(family).insert(key, value);
        }
        state.make_durable();
        Ok(())
    }

    fn disk_bytes(&self, spans: &[Span]) -> Result<Vec<u64>, StoreError> {
        let state = self.readable()?;
        let bytes = |span: &Span| {
            let rows = range(&state.families[span.family as usize], span);
            rows.map(|(key, value)| (key.len() + value.len()) as u64).sum()
        };
        Ok(spans.iter().map(bytes).collect())
    }

    fn request_flush(&self) -> Result<(), StoreError> {
        self.flush()
    }

    fn maintain(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn metrics(&self) -> Vec<Metric> {
        let state = self.read();
        let entries: usize = state.families.iter().map(|entries| entries.len()).sum();
        vec![Metric {
            name: "lentic_mem_entries_count",
            help: "Entries of the store, all versions of a key counted.",
            kind: MetricKind::Gauge,
            value: entries as u64,
        }]
    }
}

impl MemExport {
    fn push(&mut self, family: Family, rows: Vec<u8>) {
        let name = file_name(family, self.files.len(), EXTENSION);
        self.files.push(PortableFile { name, bytes: rows.len() as u64, crc32: crc32fast::hash(&rows) });
        self.contents.push(rows.into());
    }
}

impl Export for MemExport {
    fn files(&self) -> &[PortableFile] {
        &self.files
    }

    fn values(&self) -> &[Option<Vec<u8>>] {
        &self.values
    }

    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, TransferError> {
        let contents = &self.contents[file];
        let start = usize::try_from(offset).map_or(contents.len(), |offset| offset.min(contents.len()));
        let end = start.saturating_add(bytes_max).min(contents.len());
        Ok(contents.slice(start..end))
    }
}

impl Import for MemImport {
    fn write(&mut self, file: &PortableFile, offset: u64, bytes: &[u8]) -> Result<(), TransferError> {
        family_of(&file.name, EXTENSION)?;
        self.received.accept(file, offset, bytes.len())?;
        let contents = self.contents.entry(file.name.clone()).or_default();
        // It is at most what was received before, which is in memory.
        let start = usize::try_from(offset).expect("an offset within contents in memory");
        let known = (contents.len() - start).min(bytes.len());
        contents[start..start + known].copy_from_slice(&bytes[..known]);
        contents.extend_from_slice(&bytes[known..]);
        Ok(())
    }
}

fn range<'a>(entries: &'a Entries, span: &Span) -> impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> {
    let upper = span.upper.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    // An empty span, and one that is inside out, holds nothing; the map would panic.
    let holds_any = span.upper.as_ref().is_none_or(|upper| *upper > span.lower);
    holds_any.then(|| entries.range::<[u8], _>((Bound::Included(span.lower.as_slice()), upper))).into_iter().flatten()
}

fn clear(state: &mut State, span: &Span) {
    let keys: Vec<_> = range(&state.families[span.family as usize], span).map(|(key, _)| key.clone()).collect();
    let entries = state.entries(span.family);
    keys.iter().for_each(|key| drop(entries.remove(key)));
}

type Rows = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

/// The rows of all files, or why one of them may not go in.
fn checked_rows(
    contents: &BTreeMap<String, Vec<u8>>,
    spans: &[Span],
    files: &[PortableFile],
) -> Result<Rows, TransferError> {
    let mut rows = Rows::new();
    for file in files {
        let family = family_of(&file.name, EXTENSION)?;
        let bytes = contents.get(&file.name).map_or(&[][..], Vec::as_slice);
        check_checksum(file, crc32fast::hash(bytes))?;
        let refused = |reason: String| TransferError::refused(&file.name, reason);
        for (key, value) in decode(bytes).map_err(|error| refused(format!("expected rows, but {error}")))? {
            if !spans.iter().any(|span| span.family == family && span.contains(key)) {
                return Err(refused("expected keys within the ranges, found one outside".to_owned()));
            }
            if rows.insert((family, key.to_vec()), value.to_vec()).is_some() {
                return Err(refused("expected each key once, found one twice".to_owned()));
            }
        }
    }
    Ok(rows)
}

/// Key and value.
type Row<'a> = (&'a [u8], &'a [u8]);

fn decode(bytes: &[u8]) -> Result<Vec<Row<'_>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut rows = Vec::new();
    while !reader.rest().is_empty() {
        rows.push((reader.bytes("key")?, reader.bytes("value")?));
    }
    Ok(rows)
}
