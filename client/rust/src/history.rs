//! Named snapshots, and how far history goes back.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{
    self, CreateSnapshotRequest, DropPinRequest, HistoryRequest, ListPinsRequest, RenewPinRequest, ShowSnapshotRequest,
};
use lentic_types::{ErrorKind, KeyRange, NodeId, PinId, ShardId, TableId, Version};

use crate::call::{self, unexpected};
use crate::client::Client;
use crate::error::Error;
use crate::progress::Effect;
use crate::snapshot::{Snapshot, SnapshotTable};
use crate::table::Table;

/// How a snapshot is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// The tables, 1 to 100: all are kept at one version.
    pub tables: Vec<String>,
    /// Who makes it: for people.
    pub owner: String,
    /// For how long it is kept, unless it is renewed; `None`: until it is dropped.
    pub lease: Option<Duration>,
}

/// A version that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinEntry {
    /// Its id.
    pub pin: PinId,
    /// What it is for.
    pub kind: PinKind,
    /// What it is called: among snapshots each name is there once.
    pub name: String,
    /// Who made it; empty if that was not said.
    pub owner: String,
    /// What is kept: whole tables, by their full names, for a snapshot.
    pub spans: Vec<(String, KeyRange)>,
    /// The version.
    pub version: Version,
    /// When it was made.
    pub created: Version,
    /// When it goes by itself; `None`: when it is dropped.
    pub expires: Option<Version>,
}

/// What a pin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinKind {
    /// A named version of whole tables.
    Snapshot,
    /// A version of ranges that a job can go back to.
    Checkpoint,
    /// What a branch has from its parent. It goes with the branch; its owner is the branch's name.
    Branch,
}

/// How far the history of a shard goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHistory {
    /// The shard.
    pub shard: ShardId,
    /// Its table.
    pub table: TableId,
    /// The table's full name.
    pub table_name: String,
    /// The node whose replica says so: of those that answered, the one that has applied most.
    pub node: NodeId,
    /// From here on every version can be read, and below it those of `pins`.
    pub watermark: Version,
    /// The newest version that is applied there.
    pub newest: Version,
    /// The pins that the shard knows of, rising. Newer ones are above its watermark.
    pub pins: Vec<Version>,
    /// How long history is kept.
    pub retention: Duration,
    /// How many rollbacks are kept in mind.
    pub masks: u32,
    /// Of a thousand bytes that collections have looked at lately on that node, how many they kept for pins alone. An
    /// estimate: what was not rewritten since a pin came or went is not counted yet. `None`: nothing was looked at.
    pub pinned_permille: Option<u32>,
}

impl Client {
    /// Names a version of tables and keeps it, whatever their retention: it sees every write that was acknowledged before
    /// this call, in all of the tables. It costs one small write, however much the tables hold.
    ///
    /// # Errors
    /// `AlreadyExists` if there is a snapshot of this name, `NotFound` for a table that is not there.
    pub async fn create_snapshot(&self, name: &str, options: SnapshotOptions) -> Result<PinEntry, Error> {
        let random = &self.core().random;
        // Sent again, it is known by this.
        let nonce: Bytes =
            [random.next_seed(), random.next_seed()].iter().flat_map(|half| half.to_be_bytes()).collect();
        let SnapshotOptions { tables, owner, lease } = options;
        let lease_ms = ms_of(lease)?;
        let request = CreateSnapshotRequest { name: name.to_owned(), tables, owner, lease_ms, nonce };
        match self.ask(Request::CreateSnapshot(request), Effect::Writes).await? {
            Response::CreateSnapshot(made) => pin_entry(made.snapshot),
            _ => Err(unexpected()),
        }
    }

    /// A snapshot by its name.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, or none any more.
    pub async fn show_snapshot(&self, name: &str) -> Result<PinEntry, Error> {
        let request = ShowSnapshotRequest { name: name.to_owned() };
        match self.ask(Request::ShowSnapshot(request), Effect::Reads).await? {
            Response::ShowSnapshot(shown) => pin_entry(shown.snapshot),
            _ => Err(unexpected()),
        }
    }

    /// The snapshots, of all tables or of one, in the order in which they were made.
    pub async fn list_snapshots(&self, table: Option<&str>) -> Result<Vec<PinEntry>, Error> {
        self.pins(table, false).await
    }

    /// All pins, those of jobs among them.
    pub async fn list_pins(&self, table: Option<&str>) -> Result<Vec<PinEntry>, Error> {
        self.pins(table, true).await
    }

    async fn pins(&self, table: Option<&str>, all_kinds: bool) -> Result<Vec<PinEntry>, Error> {
        let request = ListPinsRequest { table: table.unwrap_or_default().to_owned(), all_kinds };
        match self.ask(Request::ListPins(request), Effect::Reads).await? {
            Response::ListPins(list) => list.pins.into_iter().map(|pin| pin_entry(Some(pin))).collect(),
            _ => Err(unexpected()),
        }
    }

    /// Drops a snapshot. Its version can be read for as long as the tables' retention lasts.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn drop_snapshot(&self, name: &str) -> Result<(), Error> {
        self.drop(DropPinRequest { name: name.to_owned(), pin: 0 }).await
    }

    /// Lets go of any pin by its id: for one that was left behind.
    ///
    /// # Errors
    /// `NotFound` if there is no such pin.
    pub async fn drop_pin(&self, pin: PinId) -> Result<(), Error> {
        self.drop(DropPinRequest { name: String::new(), pin: pin.0 }).await
    }

    async fn drop(&self, request: DropPinRequest) -> Result<(), Error> {
        let mut progress = self.progress(Effect::Writes);
        match call::any_with(self.core(), Request::DropPin(request), &mut progress).await {
            Ok(Response::DropPin(_)) => Ok(()),
            Ok(_) => Err(unexpected()),
            // It was there when it was dropped the first time.
            Err(error) if error.kind() == ErrorKind::NotFound && progress.in_doubt > 1 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins the lease of a snapshot anew: it is kept for so long from now on, or until it is dropped. A lease never gets
    /// shorter.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, or its lease has ended.
    pub async fn renew_snapshot(&self, name: &str, lease: Option<Duration>) -> Result<PinEntry, Error> {
        let request = RenewPinRequest { name: name.to_owned(), pin: 0, lease_ms: ms_of(lease)? };
        match self.ask(Request::RenewPin(request), Effect::Writes).await? {
            Response::RenewPin(renewed) => pin_entry(renewed.pin),
            _ => Err(unexpected()),
        }
    }

    /// How far the history of shards goes back, of all tables or of one, by shard. A shard none of whose nodes can be
    /// reached is left out.
    pub async fn history(&self, table: Option<&str>) -> Result<Vec<ShardHistory>, Error> {
        let request = HistoryRequest { table: table.unwrap_or_default().to_owned() };
        match self.ask(Request::History(request), Effect::Reads).await? {
            Response::History(history) => Ok(history.shards.into_iter().map(shard_history).collect()),
            _ => Err(unexpected()),
        }
    }

    /// All tables as they were at the version of a snapshot. Only those that the snapshot is of are kept at it.
    ///
    /// # Errors
    /// `NotFound` if there is no snapshot of this name.
    pub async fn snapshot_named(&self, name: &str) -> Result<Snapshot, Error> {
        Ok(self.snapshot_at(self.show_snapshot(name).await?.version))
    }

    /// All tables as they were at a time, by the cluster's clock: with what was committed before it.
    ///
    /// # Errors
    /// `Invalid` for a time that has no version: before 2020 or after 2159.
    pub fn snapshot_at_time(&self, time: SystemTime) -> Result<Snapshot, Error> {
        let unix_ms =
            time.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok());
        let ms = unix_ms.and_then(|unix_ms| unix_ms.checked_sub(Version::UNIX_MS_AT_ZERO));
        let version = ms.and_then(|ms| Version::tick(ms, 0));
        let version = version.ok_or_else(|| Error::invalid("there are no versions before 2020 and after 2159"))?;
        Ok(self.snapshot_at(version))
    }

    async fn ask(&self, request: Request, effect: Effect) -> Result<Response, Error> {
        call::any(self.core(), request, self.progress(effect)).await
    }
}

impl Table {
    /// The table as it is in a snapshot.
    ///
    /// # Errors
    /// `NotFound` if there is no snapshot of this name, `Invalid` if it is not of this table.
    pub async fn at_snapshot(&self, name: &str) -> Result<SnapshotTable, Error> {
        let snapshot = self.client().show_snapshot(name).await?;
        let own = if self.name().contains('.') { self.name().to_owned() } else { format!("default.{}", self.name()) };
        if !snapshot.spans.iter().any(|(table, _)| [own.as_str(), self.name()].contains(&table.as_str())) {
            let tables: Vec<_> = snapshot.spans.iter().map(|(table, _)| table.as_str()).collect();
            let words = format!("snapshot {name} is not of table {own}, but of {}", tables.join(", "));
            return Err(Error::invalid(words));
        }
        Ok(self.client().snapshot_at(snapshot.version).table(self.name()))
    }
}

fn ms_of(lease: Option<Duration>) -> Result<u64, Error> {
    match lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)) {
        Some(0) => {
            Err(Error::invalid("a lease of less than a millisecond keeps nothing; leave it out, or make it longer"))
        }
        ms => Ok(ms.unwrap_or(0)),
    }
}

fn pin_entry(pin: Option<v1::Pin>) -> Result<PinEntry, Error> {
    let pin = pin.ok_or_else(unexpected)?;
    let kind = match pin.kind() {
        v1::PinKind::Snapshot => PinKind::Snapshot,
        v1::PinKind::Checkpoint => PinKind::Checkpoint,
        v1::PinKind::Branch => PinKind::Branch,
        v1::PinKind::Unspecified => return Err(unexpected()),
    };
    let span = |span: v1::PinSpan| {
        KeyRange::new(span.start, span.end).map(|range| (span.table, range)).map_err(|_| unexpected())
    };
    Ok(PinEntry {
        pin: PinId(pin.pin),
        kind,
        name: pin.name,
        owner: pin.owner,
        spans: pin.spans.into_iter().map(span).collect::<Result<_, _>>()?,
        version: Version(pin.version),
        created: Version(pin.created),
        expires: pin.expires.map(Version),
    })
}

fn shard_history(row: v1::ShardHistory) -> ShardHistory {
    ShardHistory {
        shard: ShardId(row.shard),
        table: TableId(row.table),
        table_name: row.table_name,
        node: NodeId(row.node),
        watermark: Version(row.watermark),
        newest: Version(row.newest),
        pins: row.pins.into_iter().map(Version).collect(),
        retention: Duration::from_millis(row.retention_ms),
        masks: row.masks,
        pinned_permille: row.pinned_permille,
    }
}
