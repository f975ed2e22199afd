//! A run: a thread of its own, a paused runtime, a seed.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Once};
use std::thread;

use lentic_runtime::{Random, Scope};
use lentic_workloads::Dice;
use tokio::runtime::{Builder, RngSeed};
use tokio::sync::Notify;

use crate::trace::Trace;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// What the scenario returned, or the words of the first panic, of the scenario or of any task.
    pub value: Result<T, String>,
    /// How many things happened, and a digest of all of them.
    pub digest: (u64, u64),
    /// All of them, if they were asked for.
    pub lines: Vec<String>,
}

thread_local! {
    /// The first panic of this run; `None` on a thread that is no run's.
    static PANIC: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Panicked {
    words: Option<String>,
    told: Arc<Notify>,
}

/// Runs `scenario` under `seed`, and keeps the lines of its trace if `keeps_lines`. The thread is new, so that nothing
/// that is kept by thread comes from another run. A panic in any task ends the run.
pub fn run<T, F>(seed: u64, keeps_lines: bool, scenario: impl FnOnce(Dice, Trace) -> F + Send + 'static) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !note(info) {
                before(info);
            }
        }));
    });
    let work = move || {
        let told = Arc::new(Notify::new());
        PANIC.set(Some(Panicked { words: None, told: told.clone() }));
        let mut builder = Builder::new_current_thread();
        builder.enable_all().start_paused(true).rng_seed(RngSeed::from_bytes(&seed.to_be_bytes()));
        let runtime = builder.build().expect("a runtime of one thread can be built");
        let trace = runtime.block_on(async { Trace::new(keeps_lines) });
        let in_run = trace.clone();
        let value = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            runtime.block_on(async move {
                let random = Random::seeded(seed);
                let scope = Scope::new(Random::seeded(random.next_seed()));
                let work = scope.run(scenario(Dice::new(&random), in_run));
                let value = tokio::select! {
                    biased;
                    () = told.notified() => None,
                    value = work => Some(value),
                };
                scope.abort();
                value
            })
        }));
        let words = PANIC.with_borrow_mut(|panic| panic.as_mut().and_then(|panic| panic.words.take()));
        let (digest, lines) = (trace.digest(), trace.lines());
        drop(runtime);
        let value = match (words, value) {
            (None, Ok(Some(value))) => Ok(value),
            (words, _) => Err(words.unwrap_or_else(|| "a panic without words".to_owned())),
        };
        Outcome { value, digest, lines }
    };
    let thread = thread::Builder::new().name(format!("seed-{seed}")).spawn(work).expect("a thread can be started");
    thread.join().expect("panics are caught in the thread")
}

/// Notes a panic on a run's thread; false on another thread.
fn note(info: &PanicHookInfo<'_>) -> bool {
    PANIC.with_borrow_mut(|panic| {
        let Some(first) = panic else { return false };
        let payload = info.payload();
        let words = payload.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
        let place = info.location().map_or_else(String::new, |place| format!(" ({}:{})", place.file(), place.line()));
        first.words.get_or_insert_with(|| format!("{words}{place}"));
        first.told.notify_one();
        true
    })
}
