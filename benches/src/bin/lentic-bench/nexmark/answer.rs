//! What came out of a query, whatever the order.

use lentic_client::state::Data;

/// The rows that stand in the end, as a sum that knows no order, and how many were sent on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    standing: u64,
    /// Rows sent on, those that took one back with them.
    pub(super) sent: u64,
}

impl Answer {
    /// A row stands from now on.
    pub(super) fn insert(&mut self, row: &impl Data) {
        self.standing = self.standing.wrapping_add(sum_of(row));
        self.sent += 1;
    }

    /// A row stands no more.
    pub(super) fn retract(&mut self, row: &impl Data) {
        self.standing = self.standing.wrapping_sub(sum_of(row));
        self.sent += 1;
    }

    /// The same rows stand in the end.
    #[cfg(test)]
    pub(super) const fn stands_as(&self, other: &Self) -> bool {
        self.standing == other.standing
    }
}

fn sum_of(row: &impl Data) -> u64 {
    let mut bytes = Vec::new();
    row.put(&mut bytes);
    // Two sums of 32 bits each: of the row, and of the row behind a byte.
    let first = crc32fast::hash(&bytes);
    bytes.push(1);
    (u64::from(first) << 32) | u64::from(crc32fast::hash(&bytes))
}
