//! The one writer: gather, one write, one fdatasync, completions.
//!
//! ```text
//!   callers   ──► queue ──► gather n+1 fills while ...
//!                              │
//!   writer    take ─ encode ─ write ─ fdatasync ─ publish ─ completions ─ give segments back ─ take ...
//!                                     (gather n)
//! ```
//!
//! Nobody waits for company: whatever was queued during one fdatasync is the next gather, so a lone append has the
//! latency of one fdatasync, and under load all groups share each. (Giving way to other threads before each gather was
//! measured: gathers grow by a fifth on an idle machine, and throughput falls to a half on a busy one.) **Gather n + 1 is not written before gather n is
//! synced**: recovery takes the presence of one as the proof of the other.
//!
//! The writer is a step function. In production it has a thread; a test or a simulation calls the steps itself, and so
//! decides what a gather holds and when it is durable.

use crate::error::Poisoned;
use crate::format::{BLOCK_BYTES, Link, Record, begin_gather, finish_gather, gather_bytes, narrow};
use crate::fs::DirLock;
use crate::group::Location;
use crate::limits::LogOptions;
use crate::release::OnPressure;
use crate::segment::{Directory, Failed, Segment};
use crate::state::{Change, Command, Completion, Place, Shared};
use crate::stats::Stats;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Where the next gather goes.
pub(crate) struct Tail {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u32,
    /// Whether the last gather has records: nothing after it proves yet that it was synced.
    pub(crate) unproven: bool,
}

/// The part of a log that writes. **While nobody runs it, nothing becomes durable.** Dropped without
/// [`Self::close`], it stops the log as a crash would.
pub struct Writer {
    shared: Arc<Shared>,
    directory: Directory,
    options: LogOptions,
    on_pressure: OnPressure,
    tail: Tail,
    /// Kept from gather to gather, as their memory is.
    buffer: Vec<u8>,
    places: Vec<Place>,
    _lock: DirLock,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        directory: Directory,
        options: LogOptions,
        on_pressure: OnPressure,
        tail: Tail,
        lock: DirLock,
    ) -> Self {
        let (buffer, places) = (Vec::new(), Vec::new());
        Self { shared, directory, options, on_pressure, tail, buffer, places, _lock: lock }
    }

    /// Gives the writer its thread.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    pub fn spawn(mut self) -> WriterThread {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            while self.shared.wait_for_work().is_ok() && self.step() {}
            self.close()
        };
        let thread = thread::Builder::new().name("lentic-log".to_owned()).spawn(run).expect("a thread can be started");
        WriterThread { shared, thread: Some(thread) }
    }

    /// Makes the next gather durable and completes it. `false` if nothing is queued or the log has stopped.
    pub fn step(&mut self) -> bool {
        let Ok(mut state) = self.shared.lock() else { return false };
        let commands = state.take_gather();
        drop(state);
        if commands.is_empty() {
            return false;
        }
        match self.write(&commands) {
            Ok(written) => self.finish(commands, &written).is_ok(),
            Err(poisoned) => {
                self.shared.poison(poisoned, commands);
                false
            }
        }
    }

    /// Writes all that is queued, then a last gather without records, which proves the one before it: after this, all
    /// damage to the log is told from a torn end.
    ///
    /// # Errors
    /// The log has stopped before; not all of it may be durable.
    pub fn close(mut self) -> Result<(), Poisoned> {
        self.shared.begin_closing();
        while self.step() {}
        drop(self.shared.lock()?);
        if self.tail.unproven {
            self.encode(&[]);
            self.put().inspect_err(|poisoned| self.shared.poison(poisoned.clone(), Vec::new()))?;
        }
        Ok(())
    }

    /// Writes a gather and syncs it.
    fn write(&mut self, commands: &[Command]) -> Result<Written, Poisoned> {
        let bytes: usize = commands.iter().map(|command| command.bytes).sum();
        let mut written = Written::default();
        if bytes == 0 {
            self.places.clear();
            return Ok(written);
        }
        // The last block stays free for the gather that closes the log.
        if self.tail.offset + gather_bytes(bytes) + BLOCK_BYTES > self.tail.segment.bytes {
            self.roll(bytes)?;
            written.rolled = true;
        }
        self.encode(commands);
        written.bytes = self.buffer.len() as u64;
        written.sync = self.put()?;
        self.tail.unproven = true;
        // One gather of the largest entry does not hold its memory for ever.
        self.buffer.clear();
        self.buffer.shrink_to(2 * self.options.gather_bytes_max);
        Ok(written)
    }

    /// Fills the buffer with the gather, and notes where its entries will be.
    fn encode(&mut self, commands: &[Command]) {
        let Tail { segment, offset, .. } = &self.tail;
        let (buffer, places) = (&mut self.buffer, &mut self.places);
        begin_gather(buffer);
        places.clear();
        let mut records = 0;
        for command in commands {
            command.change.for_each_record(|record| {
                records += 1;
                if let (Record::Entry { group, index, data }, Change::Append { ticket, .. }) = (record, &command.change)
                {
                    let offset = offset + narrow(buffer.len());
                    let location = Location { segment: segment.sequence, offset, length: narrow(data.len()) };
                    places.push(Place { group, index, ticket: *ticket, location });
                }
                record.encode(segment.seed, buffer);
            });
        }
        finish_gather(buffer, segment.seed, *offset, records);
    }

    /// Makes the buffer durable at the tail. Returns how long the sync took.
    fn put(&mut self) -> Result<Duration, Poisoned> {
        let Tail { segment, offset, .. } = &mut self.tail;
        let failed = |action| {
            let path = self.directory.path(segment.sequence);
            move |source| Poisoned::from(Failed { action, path, source })
        };
        segment.file.write_at(&self.buffer, u64::from(*offset)).map_err(failed("writing"))?;
        let start = self.directory.fs().now();
        segment.file.sync_data().map_err(failed("syncing"))?;
        let sync = self.directory.fs().now().saturating_sub(start);
        *offset += narrow(self.buffer.len());
        Ok(sync)
    }

    /// Begins the next segment. All of this one is synced, so the link may say where it ends.
    fn roll(&mut self, record_bytes: usize) -> Result<(), Poisoned> {
        let previous = Link { sequence: self.tail.segment.sequence, end: self.tail.offset };
        let capacity = self.options.capacity_for(record_bytes);
        let segment = self.directory.begin(previous.sequence.next(), capacity, Some(previous))?;
        self.shared.lock()?.segments.insert(segment.sequence, Arc::clone(&segment));
        self.tail = Tail { segment, offset: BLOCK_BYTES, unproven: false };
        Ok(())
    }

    /// Everything after the sync: memory, completions, and then what can wait until nobody does.
    fn finish(&mut self, commands: Vec<Command>, written: &Written) -> Result<(), Poisoned> {
        let mut state = match self.shared.lock() {
            Ok(state) => state,
            Err(poisoned) => {
                self.shared.poison(poisoned.clone(), commands);
                return Err(poisoned);
            }
        };
        state.publish(&commands, &self.places, self.tail.segment.sequence);
        written.count(&mut state.stats, self.places.len() as u64);
        let room_waiters = state.take_room_waiters();
        drop(state);

        // Only a caller's change leads to a release: what a release carries forward may roll segments of its own, and
        // releasing those in turn would never end.
        let may_release = |command: &Command| written.rolled || command.change.may_release();
        let may_release = commands.iter().any(|command| command.done.is_some() && may_release(command));
        let released = commands.iter().rev().find_map(|command| match command.change {
            Change::Release { below } => Some(below),
            _ => None,
        });
        let completions: Vec<Completion> = commands.into_iter().filter_map(|command| command.done).collect();
        completions.into_iter().for_each(|done| done(Ok(())));
        room_waiters.into_iter().for_each(|waiter| waiter());

        if let Some(below) = released {
            let segments = self.shared.lock()?.take_released(below);
            self.directory.give_back(segments, self.options.segment_bytes).map_err(|failed| {
                let poisoned = Poisoned::from(failed);
                self.shared.poison(poisoned.clone(), Vec::new());
                poisoned
            })?;
        }
        if may_release {
            self.shared.lock()?.plan_release();
        }
        if written.rolled {
            let holders = self.shared.lock()?.holders(self.options.bytes_max);
            if !holders.is_empty() {
                (self.on_pressure)(&holders);
            }
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let cause = match thread::panicking() {
            true => "the log's writer panicked",
            false => "the log is closed",
        };
        self.shared.poison(Poisoned::new(cause), Vec::new());
    }
}

/// What a gather has cost.
#[derive(Default)]
struct Written {
    bytes: u64,
    sync: Duration,
    rolled: bool,
}

impl Written {
    fn count(&self, stats: &mut Stats, entries: u64) {
        stats.rolls += u64::from(self.rolled);
        if self.bytes > 0 {
            stats.gathers += 1;
            stats.written_bytes += self.bytes;
            stats.entries += entries;
            stats.gather_entries.record(entries);
            stats.sync_micros.record(u64::try_from(self.sync.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

/// A writer at work on its own thread. Dropped, it closes the log.
pub struct WriterThread {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<Result<(), Poisoned>>>,
}

impl WriterThread {
    /// Writes all that is queued and ends the thread: [`Writer::close`].
    ///
    /// # Errors
    /// The log has stopped before; not all of it may be durable.
    pub fn close(mut self) -> Result<(), Poisoned> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Poisoned> {
        self.shared.begin_closing();
        match self.thread.take().map(thread::JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Poisoned::new("the log's writer panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        // Whoever wants to know calls close; a poisoning has been told to all who waited.
        let _ = self.join();
    }
}
