//! What was found of older changes, for all shards of a node: bounded, and shared by those who ask for the same.
//!
//! A walk over a large range takes longer than a request may. It is done in slices by whoever asks, and kept for a moment,
//! so that who asks again goes on with it. Nothing is lost with it but the work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lentic_engine::feed::Window;
use lentic_types::limits::FEED_WINDOWS_MAX;
use lentic_types::{GroupId, KeyRange, Position};
use tokio::time::Instant;

/// For so long a window is kept for whoever asked for it.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// The windows of a node.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<Vec<Slot>>);

#[derive(Debug)]
struct Slot {
    group: GroupId,
    used: Instant,
    window: Shared,
}

/// A window that several may walk.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Window>>);

impl Windows {
    /// The window of a group for what comes behind `after` in `range`, or the one that `begin` begins; `None` if there are
    /// too many already.
    pub(crate) fn find(
        &self,
        group: GroupId,
        range: &KeyRange,
        after: &Position,
        begin: impl FnOnce() -> Window,
    ) -> Option<Shared> {
        let mut slots = self.lock();
        if let Some(slot) = slots.iter_mut().find(|slot| slot.group == group && slot.window.lock().serves(range, after))
        {
            slot.used = Instant::now();
            return Some(slot.window.clone());
        }
        if slots.len() >= FEED_WINDOWS_MAX {
            slots.retain(|slot| slot.used.elapsed() < KEPT_FOR);
        }
        if slots.len() >= FEED_WINDOWS_MAX {
            return None;
        }
        let window = Shared(Arc::new(Mutex::new(begin())));
        slots.push(Slot { group, used: Instant::now(), window: window.clone() });
        Some(window)
    }

    /// Lets a window go: who asked for it has all of it.
    pub(crate) fn release(&self, window: &Shared) {
        self.lock().retain(|slot| !Arc::ptr_eq(&slot.window.0, &window.0));
    }

    /// Lets go of what nobody has asked for lately.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|slot| slot.used.elapsed() < KEPT_FOR);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The window, for a slice of its walk or a look.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lentic_types::{TableId, Version};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn windows_are_shared_kept_for_a_moment_and_bounded() {
        let (windows, range, after) = (Windows::default(), KeyRange::all(), Position::after(Version(3)));
        let begin = || Window::new(TableId(1), KeyRange::all(), Position::after(Version(3)), Version(9), 100);
        let find = |group| windows.find(GroupId(group), &range, &after, begin);
        let first = find(1).unwrap();
        assert!(Arc::ptr_eq(&first.0, &find(1).unwrap().0), "who asks for the same shares it");
        for group in 2..=FEED_WINDOWS_MAX as u64 {
            assert!(find(group).is_some());
        }
        assert!(find(100).is_none() && find(1).is_some(), "there are as many as may be");
        windows.release(&first);
        assert!(find(100).is_some());
        tokio::time::advance(KEPT_FOR).await;
        assert!(find(101).is_some(), "what nobody asks for makes room");
        assert_eq!(windows.lock().len(), 1);
        tokio::time::advance(KEPT_FOR).await;
        windows.sweep();
        assert!(windows.lock().is_empty());
    }
}
