//! The state of a stream job's tasks, in the words of stream engineers.
//!
//! A job has tasks, and each key belongs to one of them by its key group. A task keeps its state in a table of the cluster,
//! in a range that it alone writes; changes wait in its memory until a flush, and what it has read stays in a cache. At a
//! checkpoint all is flushed, and a version is named that another attempt of the job comes back to, with as many tasks as it
//! likes. docs/state.md is the introduction, docs/formats.md has the bytes.
//!
//! ```no_run
//! use lentic_client::state::{Job, MaxParallelism, Reduce, Start, StateError};
//! use lentic_client::{Client, TableOptions};
//!
//! # async fn run(departures: Vec<(String, i64)>) -> Result<(), StateError> {
//! let client = Client::connect(["http://127.0.0.1:7420"]).await?;
//! client.create_table("flights", TableOptions::default()).await?;
//! let job = Job::new(client.table("flights"), "flights", MaxParallelism::new(128)?);
//!
//! // The first of two tasks, from nothing.
//! let mut task = job.start(0, 2, Start::Fresh).await?;
//! let count = task.reducing_state::<String, i64>("departures", Reduce::<i64>::sum())?;
//! let last = task.value_state::<String, i64>("last departure")?;
//! let hours = task.timers::<String>("hours")?;
//! for (airport, time) in departures {
//!     if task.has(&airport) {
//!         count.add(&mut task, &airport, 1).await?;
//!         last.update(&mut task, &airport, &time).await?;
//!         hours.add(&mut task, time - time % 3_600_000 + 3_600_000, &airport).await?;
//!     }
//! }
//! while let Some(hour) = hours.pop_up_to(&mut task, 1_357_000_000_000).await? {
//!     let departures = count.get(&mut task, &hour.key).await?;
//!     count.clear(&mut task, &hour.key).await?;
//! #   let _ = departures;
//! }
//! let checkpoint = task.checkpoint(1).await?;
//!
//! // Later, one task in the place of two: with the checkpoints of both.
//! # let other = checkpoint.clone();
//! let task = job.start(0, 1, Start::Restored(&[checkpoint, other])).await?;
//! # let _ = task;
//! # Ok(())
//! # }
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `key_group` | which task has a key: as Flink does it |
//! | `data`, `format` | keys and values as bytes, and where they are in the table |
//! | `job`, `task` | how a task begins, and what it can do |
//! | `value`, `list`, `map`, `reduce`, `aggregate`, `broadcast`, `timers` | its kinds of state |
//! | `memory` | what it knows of the table, and what it has not told it: `layer`, `flight`, `cache` |
//! | `error`, `options` | what can go wrong, and the knobs |

mod aggregate;
mod broadcast;
mod cache;
mod data;
mod error;
mod flight;
mod format;
mod job;
mod key_group;
mod layer;
mod list;
mod map;
mod memory;
mod options;
mod reduce;
mod task;
mod timers;
mod value;

pub use aggregate::{Aggregate, AggregatingState, Count, Mean};
pub use broadcast::BroadcastState;
pub use data::{Data, Key, KeyBytes, Windowed};
pub use error::StateError;
pub use job::{Job, Start, TaskCheckpoint};
pub use key_group::{KeyGroup, KeyGroups, MAX_PARALLELISM_MAX, MaxParallelism};
pub use list::ListState;
pub use map::MapState;
pub use options::StateOptions;
pub use reduce::{Reduce, ReducingState};
pub use task::Task;
pub use timers::{Timer, Timers};
pub use value::ValueState;
