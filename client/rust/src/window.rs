//! The numbers of one client id: which requests are open, and so what is acknowledged.

use std::collections::VecDeque;

use lentic_types::limits::ANSWERS_PER_CLIENT_MAX;

/// Most requests between the lowest open one and the newest. One that is stuck holds back what is this far above it.
pub(crate) const WINDOW_MAX: usize = 1_000;

const _: () = assert!(WINDOW_MAX < ANSWERS_PER_CLIENT_MAX, "a shard keeps the answers of a whole window");

/// Sequences from 1, each open until it is closed.
///
/// ```text
///   1 2 3 4 5 6 7 8 9
///   × × × ─ × ─ ─        × closed   ─ open
///         │       └ next
///         └ lowest open: everything below is acknowledged
/// ```
#[derive(Debug)]
pub(crate) struct Window {
    lowest_open: u64,
    /// Whether each sequence from `lowest_open` on is open; the first always is.
    open: VecDeque<bool>,
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self { lowest_open: 1, open: VecDeque::new() }
    }

    /// The next sequence, and what is acknowledged with it; `None` while the window is full.
    pub(crate) fn open(&mut self) -> Option<(u64, u64)> {
        if self.open.len() >= WINDOW_MAX {
            return None;
        }
        self.open.push_back(true);
        Some((self.lowest_open + self.open.len() as u64 - 1, self.lowest_open))
    }

    /// The request will not be sent again: it was answered, or given up.
    pub(crate) fn close(&mut self, sequence: u64) {
        let place = sequence.checked_sub(self.lowest_open).and_then(|place| usize::try_from(place).ok());
        let slot = place.and_then(|place| self.open.get_mut(place)).expect("an open sequence lies in the window");
        assert!(std::mem::replace(slot, false), "a sequence is closed once");
        while self.open.front() == Some(&false) {
            self.open.pop_front();
            self.lowest_open += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn one_that_is_stuck_holds_back_the_window() {
        let mut window = Window::new();
        assert_eq!(window.open(), Some((1, 1)));
        for sequence in 2..=WINDOW_MAX as u64 {
            assert_eq!(window.open(), Some((sequence, 1)));
            window.close(sequence);
        }
        assert_eq!(window.open(), None);
        window.close(1);
        assert_eq!(window.open(), Some((1_001, 1_001)));
    }

    proptest! {
        #[test]
        fn what_is_acknowledged_is_never_open(steps in proptest::collection::vec(proptest::option::of(0usize..5_000), 0..3_000)) {
            let (mut window, mut open, mut newest) = (Window::new(), BTreeSet::new(), 0);
            for step in steps {
                let chosen = step.and_then(|step| open.iter().nth(step % open.len().max(1)).copied());
                if let Some(sequence) = chosen {
                    window.close(sequence);
                    open.remove(&sequence);
                } else if let Some((sequence, acked_below)) = window.open() {
                    open.insert(sequence);
                    prop_assert_eq!(sequence, newest + 1);
                    prop_assert_eq!(Some(&acked_below), open.first());
                    prop_assert!(sequence - acked_below < ANSWERS_PER_CLIENT_MAX as u64);
                    newest = sequence;
                } else {
                    prop_assert!(newest - open.first().unwrap() + 1 >= WINDOW_MAX as u64);
                }
            }
        }
    }
}
