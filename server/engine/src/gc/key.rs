//! The verdict on each record of one key.

use lentic_types::Version;

use super::GcRules;
use crate::masks::KeyMasks;
use crate::record::Record;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody may read it.
    Keep,
    /// Nobody can see it.
    Drop,
    /// It only hides what is older: a delete in its place does the same. If it is the oldest record of its key
    /// anywhere in the store, it can be dropped.
    Bury,
    /// It has ended, and hides what another table has: a delete takes its place, and stays.
    Hide,
}

/// Judges the records of one key, newest first.
#[derive(Debug, Default)]
pub(super) struct KeyJudge {
    /// The points from which no record has been seen yet.
    open: Vec<Version>,
    /// Versions of kept operands whose base has not been met yet.
    chains: Vec<Version>,
}

impl KeyJudge {
    /// Begins a new key.
    pub(super) fn begin(&mut self, rules: &GcRules, masks: KeyMasks<'_>) {
        self.chains.clear();
        self.open.clear();
        self.open.push(rules.watermark);
        self.open.extend(rules.pins.iter().copied().filter(|pin| *pin < rules.watermark));
        self.open.extend(masks.intervals().iter().map(|interval| interval.end).filter(|end| *end > rules.watermark));
    }

    /// The verdict on the key's next older record.
    pub(super) fn judge(
        &mut self,
        rules: &GcRules,
        masks: KeyMasks<'_>,
        version: Version,
        record: &Record<'_>,
    ) -> Verdict {
        let is_visible = |at: Version| version <= at && masks.hidden_from(version, at).is_none();
        let mut keeps = version > rules.watermark;
        let mut buries = false;
        self.chains.retain(|operand| {
            let is_base = is_visible(*operand);
            keeps |= is_base;
            !is_base
        });
        if version <= rules.watermark {
            self.open.retain(|point| {
                let is_seen = is_visible(*point);
                if is_seen && record.is_gone_at(*point) {
                    buries = true;
                } else {
                    keeps |= is_seen;
                }
                !is_seen
            });
        }
        if keeps && matches!(record, Record::Operand { .. }) {
            self.chains.push(version);
        }
        match (keeps, buries) {
            (true, _) => Verdict::Keep,
            (false, true) if rules.is_branch && !lentic_types::mutant!("branch-deletes-go") => match record {
                Record::Delete => Verdict::Keep,
                _ => Verdict::Hide,
            },
            (false, true) => Verdict::Bury,
            (false, false) => Verdict::Drop,
        }
    }
}
