//! A scan, of a version or of a checkpoint.

use lentic_client::{CheckpointScan, Error, KeyRange, Row, Scan, Table};

use super::keys::ReadAt;
use crate::failure::Failure;

/// A scan that runs.
pub(crate) enum Reading {
    Version(Scan),
    Checkpoint(CheckpointScan),
}

impl Reading {
    /// Begins a scan of a range: at most `limit` rows, from its last key on if it is to be so.
    pub(crate) fn begin(
        table: &Table,
        range: KeyRange,
        at: ReadAt,
        limit: Option<u64>,
        is_backward: bool,
    ) -> Result<Self, Failure> {
        if let ReadAt::Checkpoint(checkpoint) = at {
            let scan = checkpoint.scan(&range)?.limit(limit.unwrap_or(u64::MAX));
            return Ok(Self::Checkpoint(if is_backward { scan.reverse() } else { scan }));
        }
        let mut scan = table.scan(range);
        if let Some(limit) = limit {
            scan = scan.limit(limit);
        }
        if is_backward {
            scan = scan.reverse();
        }
        if let ReadAt::Version(at) = at {
            scan = scan.at(at);
        }
        Ok(Self::Version(scan.start()))
    }

    /// The next row.
    pub(crate) async fn next(&mut self) -> Option<Result<Row, Error>> {
        match self {
            Self::Version(scan) => scan.next().await,
            Self::Checkpoint(scan) => scan.next().await,
        }
    }
}
