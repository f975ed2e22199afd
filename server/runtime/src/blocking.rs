//! Work that holds its thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work`, which may hold the thread for longer than about 100 µs: a write to the store, a large read.
///
/// On the multi-threaded runtime other tasks go on elsewhere meanwhile. On a single thread, as in a simulation, and
/// outside a runtime, it is a plain call.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_on_every_runtime_and_on_none() {
        assert_eq!(blocking(|| 1), 1);
        let single = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(single.block_on(async { blocking(|| 2) }), 2);
        let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert_eq!(multi.block_on(async { tokio::spawn(async { blocking(|| 3) }).await.unwrap() }), 3);
    }
}
