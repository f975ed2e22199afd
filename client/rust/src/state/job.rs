//! A job, and how its tasks begin.

use bytes::Bytes;
use lentic_types::Version;

use super::error::StateError;
use super::flight::Target;
use super::format;
use super::key_group::{KeyGroup, KeyGroups, MaxParallelism};
use super::memory::Memory;
use super::options::StateOptions;
use super::task::Task;
use crate::batch::WriteBatch;
use crate::error::Error;
use crate::owners::{Fence, Take};
use crate::scan::Row;
use crate::table::Table;

/// How many rows are removed at a time where a job begins anew.
const CLEAR_ROWS: u64 = 5_000;

/// A job: where its tasks keep their state.
///
/// The table is the job's alone in the key groups that its tasks own, and its values do not end by themselves.
#[derive(Clone, Debug)]
pub struct Job {
    table: Table,
    name: String,
    max: MaxParallelism,
    options: StateOptions,
}

/// A task's checkpoint: what a job keeps of it to come back to. It is good for as long as the checkpoint is kept: a day,
/// and of one range of key groups the newest three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCheckpoint {
    /// The job's number of it.
    pub number: u64,
    /// Whose state it is.
    pub groups: KeyGroups,
    /// What the table gave: [`Checkpoint::token`](crate::Checkpoint::token).
    pub token: Bytes,
    /// The version that it names.
    pub version: Version,
}

/// What a task begins with.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Nothing: its key groups must be empty.
    Fresh,
    /// Nothing: what its key groups have is removed.
    Cleared,
    /// What the job's tasks had at a checkpoint, whatever their key groups were. All tasks are given the same ones.
    Restored(&'a [TaskCheckpoint]),
    /// What is there: of tasks that were [stopped](Task::stop), whatever their key groups were, or copied from elsewhere
    /// (`lentic copy`). All tasks are given the same version, of after the last write: [`Client::now`](crate::Client::now).
    Left(Version),
}

impl Job {
    /// A job of this name, whose state is in this table.
    #[must_use]
    pub fn new(table: Table, name: &str, max: MaxParallelism) -> Self {
        Self { table, name: name.to_owned(), max, options: StateOptions::default() }
    }

    /// The same job with other knobs of its tasks.
    #[must_use]
    pub fn with_options(mut self, options: StateOptions) -> Self {
        self.options = options;
        self
    }

    /// How many key groups it has.
    #[must_use]
    pub const fn max_parallelism(&self) -> MaxParallelism {
        self.max
    }

    /// Starts a task, from 0, of `parallelism` tasks: it becomes the only writer of its key groups. An earlier attempt of the
    /// job that is still there finds out when it flushes: [`StateError::is_fenced`].
    ///
    /// # Errors
    /// `NotEmpty`; `Invalid` for arguments that make no task, or for checkpoints that do not cover its key groups; as
    /// `Table`, what [`Table::take`] fails with: `VersionTooOld` for a checkpoint that is not kept any more, `Owned` if
    /// another job has the key groups.
    pub async fn start(&self, task: u32, parallelism: u32, start: Start<'_>) -> Result<Task, StateError> {
        self.options.check()?;
        let groups = self.max.groups_of(task, parallelism)?;
        let ttl = self.table.client().describe_table(self.table.name()).await?.table.options.ttl;
        if ttl.is_some() {
            return Err(StateError::Invalid(format!(
                "values of table {} end by themselves, and a task would not see it; keep the job's state in a table \
                 without a TTL",
                self.table.name()
            )));
        }
        let parts = match start {
            Start::Restored(checkpoints) => parts_of(groups, checkpoints)?,
            Start::Fresh | Start::Cleared | Start::Left(_) => Vec::new(),
        };
        let mut take = Take::new(groups.range(), &self.name);
        for (checkpoint, part) in &parts {
            take = take.restore(&part.range(), checkpoint.token.clone());
        }
        let fence = self.table.take(take).await?;
        match start {
            Start::Fresh => self.expect_nothing(groups).await?,
            Start::Cleared => self.clear(groups, fence).await?,
            Start::Restored(_) | Start::Left(_) => {}
        }
        let target = Target { table: self.table.clone(), range: groups.range(), fence };
        let mut task = Task::new(Memory::new(target, self.options.clone()), self.max, groups);
        let sources = match start {
            Start::Left(version) => self.sources(groups, version).await?,
            _ => parts.into_iter().map(|(of, _)| Source { first: of.groups.first(), version: of.version }).collect(),
        };
        task.recall(&sources).await?;
        Ok(task)
    }

    /// The tasks that had these key groups: what each knew of its states is in its first one.
    async fn sources(&self, groups: KeyGroups, version: Version) -> Result<Vec<Source>, StateError> {
        let mut sources = Vec::new();
        for first in (0..=groups.first().0).rev().map(KeyGroup) {
            if self.has_states(first, version).await? {
                sources.push(Source { first, version });
                break;
            }
        }
        for first in groups.iter().skip(1) {
            if self.has_states(first, version).await? {
                sources.push(Source { first, version });
            }
        }
        Ok(sources)
    }

    async fn has_states(&self, group: KeyGroup, version: Version) -> Result<bool, StateError> {
        let scan = self.table.scan(format::range_of(group, format::STATES)).at(version).limit(1);
        Ok(scan.start().next().await.transpose()?.is_some())
    }

    async fn expect_nothing(&self, groups: KeyGroups) -> Result<(), StateError> {
        match self.table.scan(groups.range()).limit(1).start().next().await.transpose()? {
            None => Ok(()),
            Some(_) => Err(StateError::NotEmpty { groups }),
        }
    }

    async fn clear(&self, groups: KeyGroups, fence: Fence) -> Result<(), StateError> {
        loop {
            let rows = rows(self.table.scan(groups.range()).limit(CLEAR_ROWS).start()).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let batch = rows.into_iter().fold(WriteBatch::new().fence(fence), |batch, row| batch.delete(row.key));
            self.table.write_in_parts(batch).await?;
        }
    }
}

/// A task of before.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// The first of its key groups.
    first: KeyGroup,
    /// When it is looked at.
    version: Version,
}

pub(super) async fn rows(mut scan: crate::scan::Scan) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    while let Some(row) = scan.next().await {
        rows.push(row?);
    }
    Ok(rows)
}

/// Which checkpoint each part of a task's key groups goes back to, in order.
fn parts_of(
    groups: KeyGroups,
    checkpoints: &[TaskCheckpoint],
) -> Result<Vec<(&TaskCheckpoint, KeyGroups)>, StateError> {
    let part = |checkpoint: &TaskCheckpoint| groups.intersection(checkpoint.groups);
    let mut parts: Vec<_> = checkpoints.iter().filter_map(|of| Some((of, part(of)?))).collect();
    parts.sort_unstable_by_key(|(_, part)| part.first());
    let refused = |message: String| Err(StateError::Invalid(format!("{message}; give one checkpoint of each task")));
    let mut next = u32::from(groups.first().0);
    for (checkpoint, part) in &parts {
        if u32::from(part.first().0) != next {
            return refused(format!("the checkpoints of key groups {groups} do not have each of them once"));
        }
        if checkpoint.number != parts[0].0.number {
            return refused(format!("checkpoints {} and {} are two", parts[0].0.number, checkpoint.number));
        }
        next = u32::from(part.last().0) + 1;
    }
    if next != u32::from(groups.last().0) + 1 {
        return refused(format!("no checkpoint has key group {next}"));
    }
    Ok(parts)
}

impl Task {
    /// Recalls what states there were, and what the broadcast ones had: each task has its own copy, in its first key group.
    /// The copies of the tasks before are read as they were then, whoever has gone on since.
    async fn recall(&mut self, sources: &[Source]) -> Result<(), StateError> {
        let table = self.memory.target().table.clone();
        let first = self.groups().first();
        for source in sources {
            let range = format::range_of(source.first, format::STATES);
            for row in rows(table.scan(range).at(source.version).start()).await? {
                self.recall_state(&row.key[format::HEAD_BYTES..], &row.value)?;
            }
        }
        let Some(source) = sources.first() else { return Ok(()) };
        for state in self.broadcast_states() {
            let range = format::range_of(source.first, state);
            for row in rows(table.scan(range).at(source.version).start()).await? {
                self.recall_broadcast(state, &row);
            }
        }
        // Of the copies that are now a part of this task, one is enough.
        let copies = sources.iter().map(|source| source.first);
        for group in copies.filter(|group| *group != first && self.groups().contains(*group)).collect::<Vec<_>>() {
            for state in self.broadcast_states().into_iter().chain([format::STATES]) {
                for row in rows(table.scan(format::range_of(group, state)).start()).await? {
                    self.memory.forget(&row.key);
                }
            }
        }
        Ok(())
    }
}
