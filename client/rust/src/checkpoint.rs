//! What a job's last complete checkpoint has, for readers who must never see what a rollback may undo.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, LastCheckpointRequest};
use lentic_types::{ErrorKind, KeyRange, Version};

use crate::call::unexpected;
use crate::error::Error;
use crate::progress::Effect;
use crate::read::Value;
use crate::scan::{Row, Scan};
use crate::table::Table;

/// The newest checkpoint of a job that all of its tasks have made. Each of its parts is read at its own version: tasks pass
/// a checkpoint at different times.
///
/// # Errors
/// Reads fail as `NotFound` for keys that are in none of its parts, and as `VersionTooOld` once newer checkpoints have
/// followed and history has gone: ask for the last one anew.
#[derive(Clone, Debug)]
pub struct JobCheckpoint {
    table: Table,
    owner: String,
    number: u64,
    parts: Vec<(KeyRange, Version)>,
}

impl Table {
    /// The newest checkpoint of a job that is complete: checkpoints with its number cover all that the job owns in this
    /// table (or did, if it owns nothing now), and no rollback has undone them.
    ///
    /// # Errors
    /// `NotFound` if no checkpoint of the job is complete, or none is kept.
    pub async fn last_checkpoint(&self, job: &str) -> Result<JobCheckpoint, Error> {
        let request = LastCheckpointRequest { table: self.name().to_owned(), owner: job.to_owned() };
        let Response::LastCheckpoint(found) = self.ask(Request::LastCheckpoint(request), Effect::Reads).await? else {
            return Err(unexpected());
        };
        let part = |part: v1::CheckpointPart| {
            let range = lentic_proto::key_range(part.start, part.end).map_err(Error::from_failure)?;
            Ok((range, Version(part.version)))
        };
        let parts: Vec<_> = found.parts.into_iter().map(part).collect::<Result<_, Error>>()?;
        if !parts.is_sorted_by(|(one, _), (next, _)| one.start() < next.start() && !one.overlaps(next)) {
            return Err(unexpected());
        }
        Ok(JobCheckpoint { table: self.clone(), owner: job.to_owned(), number: found.number, parts })
    }
}

impl JobCheckpoint {
    /// The job's number of it.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// What it is of, in key order, with the version of each part.
    #[must_use]
    pub fn parts(&self) -> &[(KeyRange, Version)] {
        &self.parts
    }

    /// The value that a key had.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Value>, Error> {
        let key = key.into();
        let (_, version) = self.part_of(&key)?;
        self.table.get_at(key, *version).await
    }

    /// The values that keys had, in the order of the keys, each at the version of its part.
    pub async fn multi_get<K: Into<Bytes>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>, Error> {
        let keys: Vec<Bytes> = keys.into_iter().map(Into::into).collect();
        let places = keys.iter().map(|key| self.part_of(key).map(|(_, version)| *version));
        let versions = places.collect::<Result<Vec<_>, _>>()?;
        let mut values = vec![None; keys.len()];
        for version in versions.iter().copied().collect::<BTreeSet<_>>() {
            let places: Vec<usize> = (0..keys.len()).filter(|place| versions[*place] == version).collect();
            let found = self.table.multi_get_at(places.iter().map(|place| keys[*place].clone()), version).await?;
            places.into_iter().zip(found).for_each(|(place, value)| values[place] = value);
        }
        Ok(values)
    }

    /// The rows of a range, or of all of its parts if that is all keys.
    ///
    /// # Errors
    /// `NotFound` if it has not all of the range.
    pub fn scan(&self, range: &KeyRange) -> Result<CheckpointScan, Error> {
        let parts = self.parts.iter().filter_map(|(part, version)| Some((part.intersection(range)?, *version)));
        let parts: VecDeque<_> = parts.collect();
        if *range != KeyRange::all() {
            let without = |left: Vec<KeyRange>, (part, _): &(KeyRange, Version)| {
                left.iter().flat_map(|range| range.without(part)).collect()
            };
            if let Some(left) = parts.iter().fold(vec![range.clone()], without).first() {
                return Err(self.not_here(&format!("range {left}")));
            }
        }
        Ok(CheckpointScan { table: self.table.clone(), parts, is_backward: false, left: u64::MAX, scan: None })
    }

    fn part_of(&self, key: &[u8]) -> Result<&(KeyRange, Version), Error> {
        let found = self.parts.iter().find(|(range, _)| range.contains(key));
        found.ok_or_else(|| self.not_here(&format!("key {}", key.escape_ascii())))
    }

    fn not_here(&self, what: &str) -> Error {
        let Self { owner, number, table, .. } = self;
        let message = format!(
            "{what} is not in checkpoint {number} of job {owner}, which does not own it in table {}; read what it owns",
            table.name()
        );
        Error::new(ErrorKind::NotFound, message)
    }
}

/// The rows of a checkpoint, one part after the other.
#[derive(Debug)]
pub struct CheckpointScan {
    table: Table,
    parts: VecDeque<(KeyRange, Version)>,
    is_backward: bool,
    left: u64,
    scan: Option<Scan>,
}

impl CheckpointScan {
    /// Gives at most `rows` rows.
    #[must_use]
    pub const fn limit(mut self, rows: u64) -> Self {
        self.left = rows;
        self
    }

    /// Goes from the last key to the first.
    #[must_use]
    pub const fn reverse(mut self) -> Self {
        self.is_backward = true;
        self
    }

    /// The next row, `None` after the last. After an error it ends.
    pub async fn next(&mut self) -> Option<Result<Row, Error>> {
        while self.left > 0 {
            if let Some(scan) = &mut self.scan {
                match scan.next().await {
                    Some(Ok(row)) => {
                        self.left -= 1;
                        return Some(Ok(row));
                    }
                    Some(Err(error)) => {
                        self.left = 0;
                        return Some(Err(error));
                    }
                    None => self.scan = None,
                }
            }
            let next = if self.is_backward { self.parts.pop_back() } else { self.parts.pop_front() };
            let (range, version) = next?;
            let mut scan = self.table.scan(range).at(version);
            if self.left < u64::MAX {
                scan = scan.limit(self.left);
            }
            self.scan = Some(if self.is_backward { scan.reverse().start() } else { scan.start() });
        }
        None
    }
}
