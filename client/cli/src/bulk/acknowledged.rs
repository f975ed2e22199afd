//! Which rows are acknowledged: all up to one, and some beyond.

use std::collections::BTreeSet;

/// Which rows are acknowledged.
///
/// ```text
///   row   1 2 3 4 5 6 7
///         × × × ─ × ─ ×      through 3; beyond: 5, 7
/// ```
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    through: u64,
    beyond: BTreeSet<u64>,
}

impl Acknowledged {
    /// All rows up to `row` are.
    pub(super) const fn through_row(row: u64) -> Self {
        Self { through: row, beyond: BTreeSet::new() }
    }

    /// One more is.
    pub(super) fn add(&mut self, row: u64) {
        self.beyond.insert(row);
        while self.beyond.first() == Some(&(self.through + 1)) {
            self.beyond.pop_first();
            self.through += 1;
        }
    }

    /// The last row such that it and all before it are.
    pub(super) const fn through(&self) -> u64 {
        self.through
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn through_is_where_the_first_gap_is(mut rows in Just((1u64..50).collect::<Vec<_>>()).prop_shuffle(), taken in 0usize..50) {
            rows.truncate(taken);
            let mut acknowledged = Acknowledged::through_row(0);
            rows.iter().for_each(|row| acknowledged.add(*row));
            let first_gap = (1..).find(|row| !rows.contains(row)).unwrap();
            prop_assert_eq!(acknowledged.through(), first_gap - 1);
        }
    }
}
