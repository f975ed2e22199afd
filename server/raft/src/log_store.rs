//! openraft's log storage on the shared log.
//!
//! The log has one order for everything that is submitted: so a vote, entries, a truncation and a purge need not wait
//! for each other, and only what is answered to others waits for the disk.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use lentic_log::{Completion, Log, ReadError, SubmitError};
use lentic_types::{GroupId, Index};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::format::{decode_entry, decode_marker, decode_vote, encode_entry, encode_marker, encode_vote};
use crate::types::{Entry, LogId, Types, Vote, log_id};

/// Entries read at once to be applied: enough for a large batch, and what one group holds in memory meanwhile.
const APPLY_READ_BYTES: usize = 4 << 20;

/// One group's part of the log. Clones are the same part.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Log,
    group: GroupId,
    /// Most bytes of entries in one message to a follower.
    append_bytes_max: usize,
}

impl LogStore {
    pub(crate) fn new(log: Log, group: GroupId, append_bytes_max: usize) -> Self {
        Self { log, group, append_bytes_max }
    }

    /// The last purged entry.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        let purged = self.log.state(self.group).map_err(io::Error::other)?.and_then(|state| state.purged);
        let decoded = purged.map(|purged| decode_marker(purged.through.0, &purged.marker));
        decoded.transpose().map_err(|error| self.damaged("purge marker", &error))
    }

    /// The log id of an entry that is in the log, or was the last one purged.
    pub(crate) fn log_id(&self, index: u64) -> io::Result<Option<LogId>> {
        if let Some(purged) = self.purged()?.filter(|purged| purged.index >= index) {
            return Ok(Some(purged).filter(|purged| purged.index == index));
        }
        Ok(self.read(index, index + 1, 1)?.first().map(|entry| entry.log_id))
    }

    /// Forgets everything of the group, durably.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        self.durably(|done| self.log.remove_group(self.group, done)).await
    }

    /// Begins the log of a group behind an entry that it never had. Durable when it returns.
    pub(crate) async fn begin_behind(&self, index: Index) -> io::Result<()> {
        let marker = encode_marker(&log_id(0, index.0));
        self.durably(|done| self.log.purge(self.group, index, marker.clone(), done)).await
    }

    /// Entries from `start` on, before `end`: up to `bytes_max` in sum, but one if there is one.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let read = self.log.read(self.group, Index(start)..Index(end), bytes_max).map_err(|error| match error {
            ReadError::Purged { .. } => io::Error::new(io::ErrorKind::NotFound, error.to_string()),
            error => io::Error::other(error),
        })?;
        let decode = |(index, bytes): (u64, Bytes)| {
            decode_entry(index, &bytes).map_err(|error| self.damaged(&format!("entry {index}"), &error))
        };
        (start..).zip(read).map(decode).collect()
    }

    fn damaged(&self, what: &str, error: &dyn std::error::Error) -> io::Error {
        let group = self.group;
        io::Error::other(format!("{what} of {group} cannot be read: {error}; replace this replica from the others"))
    }

    /// The indexes of a range, without what is purged.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let state = self.log.state(self.group).map_err(io::Error::other)?;
        let first = state.and_then(|state| state.range).map_or(u64::MAX, |(first, _)| first.0);
        Ok((start.max(first), end))
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        let saved = self.log.state(self.group).map_err(io::Error::other)?.and_then(|state| state.saved);
        let decoded = saved.map(|bytes| decode_vote(&bytes));
        decoded.transpose().map_err(|error| self.damaged("vote", &error))
    }

    /// Submits a change as often as it takes until it has room.
    async fn submit(&self, mut change: impl FnMut() -> Result<(), SubmitError>) -> io::Result<()> {
        loop {
            match change() {
                Ok(()) => return Ok(()),
                Err(SubmitError::Full { .. }) => self.room().await,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    async fn room(&self) {
        let (sender, receiver) = oneshot::channel();
        self.log.when_room(Box::new(move || {
            let _ = sender.send(());
        }));
        // A log that is gone says so at the next submission.
        let _ = receiver.await;
    }

    /// Submits a change and waits until it is durable.
    async fn durably(&self, mut change: impl FnMut(Completion) -> Result<(), SubmitError>) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let sender = Slot::new(sender);
        self.submit(|| {
            let sender = sender.clone();
            change(Box::new(move |result| {
                if let Some(sender) = sender.take() {
                    let _ = sender.send(result);
                }
            }))
        })
        .await?;
        match receiver.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log has stopped; stop this process and see its first error")),
        }
    }
}

/// What the attempt that succeeds takes: those before it were refused, and their completions are gone.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Some(value))))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Reads a range to its end, some megabytes at a time.
struct Chunks {
    store: LogStore,
    /// What is left to read; or why nothing can be.
    bounds: io::Result<(u64, u64)>,
    read: std::vec::IntoIter<Entry>,
}

impl Chunks {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        if let Some(entry) = self.read.next() {
            return Ok(Some(entry));
        }
        // After an error there is nothing more to read.
        let (start, end) = std::mem::replace(&mut self.bounds, Ok((0, 0)))?;
        if start >= end {
            return Ok(None);
        }
        let entries = self.store.read(start, end, APPLY_READ_BYTES)?;
        if !entries.is_empty() {
            self.bounds = Ok((start + entries.len() as u64, end));
        }
        self.read = entries.into_iter();
        Ok(self.read.next())
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.bounds(&range)?;
        self.read(start, end, usize::MAX)
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let chunks = Chunks { store: self.clone(), bounds: self.bounds(&range), read: Vec::new().into_iter() };
        stream::unfold(chunks, |mut chunks| async move { chunks.next().transpose().map(|item| (item, chunks)) })
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.vote()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, self.append_bytes_max)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.purged()?;
        let state = self.log.state(self.group).map_err(io::Error::other)?;
        let last = match state.and_then(|state| state.range) {
            Some((_, last)) => self.log_id(last.0)?,
            None => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = encode_vote(vote);
        if lentic_types::mutant!("no-vote-sync") {
            return self.submit(|| self.log.save_state(self.group, bytes.clone(), Box::new(|_| ()))).await;
        }
        self.durably(|done| self.log.save_state(self.group, bytes.clone(), done)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut entries = entries.into_iter().peekable();
        let Some(first) = entries.peek().map(|entry| Index(entry.log_id.index)) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let encoded: Vec<Bytes> = entries.map(|entry| encode_entry(&entry)).collect();
        let callback = Slot::new(callback);
        if lentic_types::mutant!("ack-before-sync")
            && let Some(callback) = callback.take()
        {
            callback.io_completed(Ok(()));
        }
        self.submit(|| {
            let callback = callback.clone();
            let done: Completion = Box::new(move |result| {
                let result = if lentic_types::mutant!("ack-on-failed-disk") { Ok(()) } else { result };
                if let Some(callback) = callback.take() {
                    callback.io_completed(result.map_err(io::Error::other));
                }
            });
            self.log.append(self.group, first, encoded.clone(), done)
        })
        .await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = Index(last_log_id.map_or(0, |last| last.index + 1));
        // Durable before it returns: a snapshot that is installed next is durable elsewhere, and must not come back
        // after a crash beside entries that contradict it.
        self.durably(|done| self.log.truncate(self.group, from, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let marker = encode_marker(&log_id);
        // If it gets lost, there are entries again that nobody needs. A log that has stopped says so at the next append.
        self.submit(|| self.log.purge(self.group, Index(log_id.index), marker.clone(), Box::new(|_| ()))).await
    }
}
