//! How much is kept for pins alone: counted where it is decided, in collections.

/// Bytes looked at after which older counts weigh half: what was kept last year says nothing of today.
const LOOKED_BYTES_MAX: u64 = 1 << 32;

/// What collections of a shard have looked at lately, and kept for pins alone.
///
/// It is an estimate. A collection sees the files that it rewrites, so what was not rewritten since a pin came or went is
/// not counted yet; a record that is rewritten twice counts twice, on both sides. Only the share says something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of keys and values that were looked at.
    pub looked_bytes: u64,
    /// Those of them that would have gone if it were not for pins.
    pub pinned_bytes: u64,
}

impl Held {
    /// Counts a record.
    pub(super) const fn count(&mut self, bytes: usize, is_pinned: bool) {
        self.looked_bytes += bytes as u64;
        if is_pinned {
            self.pinned_bytes += bytes as u64;
        }
    }

    /// Adds what another collection has counted.
    pub(super) const fn add(&mut self, other: Self) {
        self.looked_bytes = self.looked_bytes.saturating_add(other.looked_bytes);
        self.pinned_bytes = self.pinned_bytes.saturating_add(other.pinned_bytes);
        while self.looked_bytes > LOOKED_BYTES_MAX {
            self.looked_bytes /= 2;
            self.pinned_bytes /= 2;
        }
    }

    /// How much of a thousand bytes is kept for pins alone; `None` if nothing was looked at.
    #[must_use]
    pub fn permille(&self) -> Option<u32> {
        let permille = self.pinned_bytes.saturating_mul(1000).checked_div(self.looked_bytes)?;
        u32::try_from(permille).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_counts_fade() {
        let mut held = Held::default();
        assert_eq!(held.permille(), None);
        held.count(600, true);
        held.count(400, false);
        assert_eq!(held.permille(), Some(600));
        held.add(Held { looked_bytes: LOOKED_BYTES_MAX, pinned_bytes: 0 });
        held.add(Held { looked_bytes: u64::MAX, pinned_bytes: u64::MAX });
        assert!(held.looked_bytes <= LOOKED_BYTES_MAX && held.permille() > Some(990), "{held:?}");
    }
}
