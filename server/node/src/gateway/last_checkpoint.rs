//! The newest complete checkpoint of a job: what a reader reads at who must never see what a rollback may undo.
//!
//! ```text
//!   task a   7 ●━━━━━━━ 8 ●╌╌╌╌╌╌╌╌╌╌ lost, and taken back to 7: its 8 is undone
//!   task b     7 ●━━━━━━━━━━━━━╌╌╌╌╌╌ the same: it never came to 8
//!   both           ╰── complete ──╯      9 ●   9 ●  complete from here on
//! ```
//!
//! Each task makes the checkpoint of its own range, at its own version, with a pin that has the job's number in its name.
//! A number is complete if its pins cover all that the job owns, and no rollback has undone what they name: only shards
//! know what was taken back, so they are asked.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lentic_engine::Portable;
use lentic_machine::meta::{Pin, PinKind};
use lentic_proto::v1::{self, Failure};
use lentic_types::{KeyRange, PinId, TableId, Version};
use tokio::time::Instant;

use super::Gateway;
use crate::{convert, failure};

const NAME: &str = "checkpoint-";

/// The name of a checkpoint's pin, by the job's number.
pub(super) fn pin_name(number: u64) -> String {
    format!("{NAME}{number}")
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(NAME)?.parse().ok()
}

/// A range and the version at which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    range: KeyRange,
    version: Version,
    pin: PinId,
}

impl<S: Portable> Gateway<S> {
    /// The newest complete checkpoint of a job; this node leads the meta group.
    pub(crate) async fn last_checkpoint(
        &self,
        request: v1::LastCheckpointRequest,
    ) -> Result<v1::LastCheckpointResponse, Failure> {
        self.meta.confirm().await?;
        let deadline = Instant::now() + self.options.deadline;
        let v1::LastCheckpointRequest { table: name, owner } = request;
        let table = self.table_id(&name, deadline).await?;
        let owned = self.owned_by(&name, &owner, deadline).await?;
        let by_number = by_number(self.meta.pins_after_apply().iter(), table, &owner);
        if by_number.is_empty() {
            return Err(failure::not_found(format!(
                "job {owner} has no checkpoint of table {name} that is kept; check the names, or wait for its first"
            )));
        }
        let all = by_number.values().flatten().map(|part| &part.range);
        let wanted = if owned.is_empty() { union(all) } else { owned };
        for (number, mut parts) in by_number.into_iter().rev() {
            while let Some(cover) = cover(&wanted, &parts) {
                match self.first_undone(&name, &cover, deadline).await? {
                    None => return Ok(answer(number, cover)),
                    // An older one of the number may do.
                    Some(pin) => parts.retain(|part| part.pin != pin),
                }
            }
        }
        Err(failure::not_found(format!(
            "no checkpoint of job {owner} that is kept is complete in table {name}; wait until all of its tasks have made one"
        )))
    }

    /// What a job owns of a table.
    async fn owned_by(&self, table: &str, owner: &str, deadline: Instant) -> Result<Vec<KeyRange>, Failure> {
        let (mut owned, mut rest) = (Vec::new(), Some(KeyRange::all()));
        while let Some(range) = rest {
            let page = self.owned_page(table, range, None, deadline).await?;
            for part in page.owned.into_iter().filter(|part| part.owner == owner) {
                owned.push(convert::range(part.start, part.end)?);
            }
            rest = page.rest.map(|rest| convert::range(rest.start, rest.end)).transpose()?;
        }
        Ok(owned)
    }

    /// The pin of the first part of which some has been undone.
    async fn first_undone(&self, table: &str, parts: &[Part], deadline: Instant) -> Result<Option<PinId>, Failure> {
        for part in parts {
            let mut rest = Some(part.range.clone());
            while let Some(range) = rest {
                let page = self.owned_page(table, range, Some(part.version), deadline).await?;
                if page.undone {
                    return Ok(Some(part.pin));
                }
                rest = page.rest.map(|rest| convert::range(rest.start, rest.end)).transpose()?;
            }
        }
        Ok(None)
    }

    async fn owned_page(
        &self,
        table: &str,
        range: KeyRange,
        seen_at: Option<Version>,
        deadline: Instant,
    ) -> Result<v1::OwnedResponse, Failure> {
        let (start, end) = (range.start().clone(), range.end().cloned());
        let seen_at = seen_at.map(|Version(version)| version);
        let page = v1::OwnedRequest { table: table.to_owned(), route: None, start, end, seen_at };
        self.relay_owned(page, deadline).await
    }
}

/// A job's checkpoints of a table by number, the newest of each number first.
fn by_number<'a>(pins: impl Iterator<Item = &'a Pin>, table: TableId, owner: &str) -> BTreeMap<u64, Vec<Part>> {
    let mut all: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
    for pin in pins.filter(|pin| pin.kind == PinKind::Checkpoint && pin.owner == owner) {
        let Some(number) = number_of(&pin.name) else { continue };
        let parts = pin.spans.iter().filter(|span| span.table == table);
        let parts = parts.map(|span| Part { range: span.range.clone(), version: pin.version, pin: pin.pin });
        let parts: Vec<_> = parts.collect();
        if !parts.is_empty() {
            all.entry(number).or_default().extend(parts);
        }
    }
    all.values_mut().for_each(|parts| parts.sort_by_key(|part| Reverse((part.version, part.pin))));
    all
}

/// The keys of all of some ranges, each once.
fn union<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Vec<KeyRange> {
    ranges.fold(Vec::new(), |mut all: Vec<KeyRange>, range| {
        let without =
            |left: Vec<KeyRange>, known: &KeyRange| left.iter().flat_map(|range| range.without(known)).collect();
        let new: Vec<KeyRange> = all.iter().fold(vec![range.clone()], without);
        all.extend(new);
        all
    })
}

/// `wanted`, cut into what of it the first of `parts` has, what of the rest the next one has, and so on, in key order;
/// `None` if some of it is in none.
fn cover(wanted: &[KeyRange], parts: &[Part]) -> Option<Vec<Part>> {
    let (mut left, mut found) = (wanted.to_vec(), Vec::new());
    for part in parts {
        let mut rest = Vec::new();
        for range in left {
            match range.intersection(&part.range) {
                Some(common) => {
                    rest.extend(range.without(&common));
                    found.push(Part { range: common, ..part.clone() });
                }
                None => rest.push(range),
            }
        }
        left = rest;
    }
    found.sort_by(|one, other| one.range.start().cmp(other.range.start()));
    left.is_empty().then_some(found)
}

/// Parts that lie beside each other and are of one pin are one: shards are of no interest here.
fn answer(number: u64, cover: Vec<Part>) -> v1::LastCheckpointResponse {
    let mut parts: Vec<v1::CheckpointPart> = Vec::new();
    for Part { range, version, pin } in cover {
        match parts.last_mut() {
            Some(last) if last.pin == pin.0 && last.end.as_ref() == Some(range.start()) => {
                last.end = range.end().cloned();
            }
            _ => parts.push(v1::CheckpointPart {
                start: range.start().clone(),
                end: range.end().cloned(),
                version: version.0,
                pin: pin.0,
            }),
        }
    }
    v1::LastCheckpointResponse { number, parts }
}

#[cfg(test)]
mod tests {
    use lentic_machine::meta::PinSpan;

    use super::*;

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(start, Some(end)).unwrap()
    }

    fn part(start: &'static str, end: &'static str, version: u64) -> Part {
        Part { range: range(start, end), version: Version(version), pin: PinId(version) }
    }

    fn pin(number: u64, owner: &str, start: &'static str, end: &'static str, version: u64) -> Pin {
        Pin {
            pin: PinId(version),
            kind: PinKind::Checkpoint,
            name: pin_name(number),
            owner: owner.to_owned(),
            nonce: [0; 16],
            spans: vec![PinSpan { table: TableId(1), range: range(start, end) }],
            version: Version(version),
            created: Version(version),
            expires: None,
        }
    }

    #[test]
    fn numbers_are_in_the_names_of_pins() {
        assert_eq!(number_of(&pin_name(u64::MAX)), Some(u64::MAX));
        assert_eq!(number_of("checkpoint-x"), None);
        assert_eq!(number_of("nightly"), None);
    }

    #[test]
    fn the_newest_of_a_number_comes_first_and_others_are_left_out() {
        let snapshot = Pin { kind: PinKind::Snapshot, ..pin(1, "job", "a", "b", 9) };
        let pins = [pin(1, "job", "a", "b", 5), pin(1, "job", "a", "b", 7), pin(2, "other", "a", "b", 8), snapshot];
        let found = by_number(pins.iter(), TableId(1), "job");
        assert_eq!(found, BTreeMap::from([(1, vec![part("a", "b", 7), part("a", "b", 5)])]));
        assert_eq!(by_number(pins.iter(), TableId(2), "job"), BTreeMap::new());
    }

    #[test]
    fn a_union_has_each_key_once() {
        let ranges = [range("a", "g"), range("a", "g"), range("c", "k"), range("b", "d"), range("x", "z")];
        assert_eq!(union(ranges.iter()), [range("a", "g"), range("g", "k"), range("x", "z")]);
    }

    #[test]
    fn a_number_is_complete_if_it_covers_what_is_owned() {
        // Each shard tells of its own part.
        let owned = [range("a", "g"), range("g", "k"), range("m", "z")];
        let both = [part("m", "z", 9), part("a", "m", 8)];
        let found = cover(&owned, &both).unwrap();
        assert_eq!(found, [part("a", "g", 8), part("g", "k", 8), part("m", "z", 9)]);
        let told = answer(4, found);
        assert_eq!(told.parts.iter().map(|part| part.version).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(told.parts[0].end.as_deref(), Some(&b"k"[..]));
        assert_eq!(cover(&owned, &both[1..]), None, "a task has not made it");
        assert_eq!(cover(&owned, &[part("a", "k", 8), part("m", "y", 9)]), None, "nor all of its range");
        // One that was made again counts where it is.
        let again = [part("c", "e", 12), part("a", "m", 8), part("m", "z", 9)];
        let found = cover(&owned, &again).unwrap();
        let expected = [part("a", "c", 8), part("c", "e", 12), part("e", "g", 8), part("g", "k", 8), part("m", "z", 9)];
        assert_eq!(found, expected);
    }
}
