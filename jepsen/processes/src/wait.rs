//! Waiting for a thing, with a bound.

use std::time::{Duration, Instant};

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// If it has not after `within`: the words say what was waited for, and what `look` said last.
pub async fn until<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + within;
    let mut reason = "nothing was found out".to_owned();
    loop {
        match tokio::time::timeout_at(deadline.into(), look()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(found)) => reason = found,
            Err(_) => reason += ", and the last look did not end",
        }
        assert!(Instant::now() < deadline, "{what}: not so within {within:?}; {reason}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
