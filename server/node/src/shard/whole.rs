//! Whether what a replica keeps is all there: not while an import replaces it, nor once its shard is gone.
//!
//! Readers look before they read and again after it: in between parts may have been taken away.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the states that a replica has had. Odd: the next one is on its way.
#[derive(Debug, Default)]
pub(crate) struct Whole(AtomicU64);

/// A state that was whole when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Whole {
    /// From here on parts of the state may be missing.
    pub(crate) fn broken(&self) {
        self.0.fetch_or(1, Ordering::SeqCst);
    }

    /// Another state is there, and readers have its rules.
    pub(crate) fn mended(&self) {
        // Nothing was replaced if it is even.
        let _ = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| (!state.is_multiple_of(2)).then_some(state + 1));
    }

    /// The state, if all of it is there.
    pub(crate) fn see(&self) -> Option<Seen> {
        let state = self.0.load(Ordering::SeqCst);
        state.is_multiple_of(2).then_some(Seen(state))
    }

    /// Whether all that was read since is of the state that was seen.
    pub(crate) fn is_still(&self, seen: Seen) -> bool {
        self.0.load(Ordering::SeqCst) == seen.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_not_read() {
        let whole = Whole::default();
        let seen = whole.see().unwrap();
        assert!(whole.is_still(seen));
        whole.broken();
        whole.broken();
        assert!(whole.see().is_none() && !whole.is_still(seen));
        whole.mended();
        whole.mended();
        assert!(whole.see().is_some() && !whole.is_still(seen), "it is another state");
    }
}
