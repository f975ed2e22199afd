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
    /// The points from which no record has been seen yet, and whether each is a pin's alone.
    open: Vec<(Version, bool)>,
    /// Versions of kept operands whose base has not been met yet, and whether each is kept for pins alone.
    chains: Vec<(Version, bool)>,
    /// Whether the last record is kept for pins alone.
    is_pinned: bool,
}

impl KeyJudge {
    /// Begins a new key.
    pub(super) fn begin(&mut self, rules: &GcRules, masks: KeyMasks<'_>) {
        self.chains.clear();
        self.open.clear();
        let ends = masks.intervals().iter().map(|interval| interval.end).filter(|end| *end > rules.watermark);
        self.open.extend([rules.watermark].into_iter().chain(ends).map(|point| (point, false)));
        self.open.extend(rules.pins.iter().copied().filter(|pin| *pin < rules.watermark).map(|pin| (pin, true)));
    }

    /// Whether the last record that was judged is kept for pins alone.
    pub(super) const fn is_pinned(&self) -> bool {
        self.is_pinned
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
        // For whomever, and for somebody beside pins.
        let (mut keeps, mut is_needed) = (version > rules.watermark, version > rules.watermark);
        let mut buries = false;
        self.chains.retain(|(operand, is_pins)| {
            let is_base = is_visible(*operand);
            keeps |= is_base;
            is_needed |= is_base && !is_pins;
            !is_base
        });
        if version <= rules.watermark {
            self.open.retain(|(point, is_pin)| {
                let is_seen = is_visible(*point);
                if is_seen && record.is_gone_at(*point) {
                    buries = true;
                } else {
                    keeps |= is_seen;
                    is_needed |= is_seen && !is_pin;
                }
                !is_seen
            });
        }
        self.is_pinned = keeps && !is_needed;
        if keeps && matches!(record, Record::Operand { .. }) {
            self.chains.push((version, self.is_pinned));
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
