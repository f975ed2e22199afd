//! GC of a whole range at once: what compactions do over time.

use lentic_types::{KeyRange, TableId};

use super::{GcFilter, Verdict};
use crate::keys::data;
use crate::record::DELETE_BYTES;
use crate::store::{Batch, Cursor, Family, StoreError, View};

/// The changes that remove from a range of `view` all that `filter` lets go of.
///
/// A sweep sees all records of a key, so it also drops deletes that have become the oldest of their key. It collects
/// its changes in memory: for tests, for simulation and for small ranges; a store's compactions do it piece by piece.
pub fn sweep(view: &impl View, table: TableId, range: &KeyRange, filter: &mut GcFilter) -> Result<Batch, StoreError> {
    let mut cursor = view.cursor(Family::Data, data::bounds(table, range))?;
    cursor.seek(&[])?;
    let mut batch = Batch::new();
    let mut kept: Vec<(Vec<u8>, Verdict)> = Vec::new();
    while let Some((key, value)) = cursor.entry() {
        if kept.last().is_some_and(|(last, _)| data::prefix(last) != data::prefix(key)) {
            bury(&mut batch, &mut kept);
        }
        match filter.judge(key, value) {
            Verdict::Drop => batch.delete(Family::Data, key),
            Verdict::Hide => {
                batch.put(Family::Data, key, DELETE_BYTES);
                kept.push((key.to_vec(), Verdict::Keep));
            }
            verdict => kept.push((key.to_vec(), verdict)),
        }
        cursor.next()?;
    }
    bury(&mut batch, &mut kept);
    Ok(batch)
}

/// Replaces the buried records of one key by deletes, and drops those that nothing is below of.
fn bury(batch: &mut Batch, kept: &mut Vec<(Vec<u8>, Verdict)>) {
    while let Some((key, _)) = kept.pop_if(|(_, verdict)| *verdict == Verdict::Bury) {
        batch.delete(Family::Data, &key);
    }
    for (key, _) in kept.drain(..).filter(|(_, verdict)| *verdict == Verdict::Bury) {
        batch.put(Family::Data, &key, DELETE_BYTES);
    }
}
