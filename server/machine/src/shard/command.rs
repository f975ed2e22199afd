//! What a shard can be asked to do.

use bytes::Bytes;
use lentic_engine::MergeOperator;
use lentic_types::{Epoch, Expiry, KeyRange, Limits, NodeId, ShardId, TableId, TxnId, Version, limits};

use super::answers::RequestKey;
use super::fences::Token;
use super::outcome::{Decision, Refusal};

/// Bytes that a request or an operation takes beside its keys and values, in an entry or in a batch, or a few more.
const HEAD_BYTES: usize = 48;

/// One log entry of a shard: requests that reached its leader together.
///
/// Each request is judged by itself, in order, and sees the effects of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The shard's epoch when the requests were routed. If it has changed since, all of them are refused.
    pub epoch: Epoch,
    /// The requests.
    pub requests: Vec<Request>,
}

/// One request, stamped by the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The commit version, should it commit. Stamps rise strictly from request to request.
    pub version: Version,
    /// Makes a retry safe; without it the caller must not retry after an unknown outcome.
    pub key: Option<RequestKey>,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Change keys.
    Write(Write),
    /// Become the only writer of a range, and perhaps go back in parts of it.
    Take(Take),
    /// Give up a range, or a part of one.
    Release(Release),
    /// Let go of versions below one, but for those at pins.
    RaiseWatermark(RaiseWatermark),
    /// Let a branch of the shard ride in its group.
    Branch(Branch),
    /// Let go of a branch. It is asked of the group's own shard.
    DropBranch(ShardId),
    /// Let the keys from one on become another shard's.
    Split(Split),
    /// Do nothing: the request was refused elsewhere, for a reason that this shard's replicas cannot judge alike. Unless a
    /// copy of it was answered before, or is a transaction that may yet commit, the refusal is the answer to it for good.
    Decline(Refusal),
    /// Prepare this shard's share of a transaction.
    Prepare(Prepare),
    /// At a transaction's anchor: record what becomes of it.
    Decide(Decide),
    /// Do as was decided of a transaction.
    Resolve(Resolve),
    /// Say how a transaction stands here, and keep out a prepare that has not come.
    Status(TxnRef),
}

impl Action {
    /// Whether it brings a transaction to its end: nodes ask for it, not clients. Nothing that it does waits for a key, and
    /// others wait for the keys that it frees: it goes before all else.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        matches!(self, Self::Decide(_) | Self::Resolve(_) | Self::Status(_))
    }

    /// The key that its operation at `place` changes, if there is one.
    #[must_use]
    pub fn key(&self, place: usize) -> Option<&Bytes> {
        match self {
            Self::Write(write) => write.operations.get(place)?.key(),
            Self::Prepare(prepare) => prepare.parts.iter().flat_map(|part| &part.operations).nth(place)?.key(),
            _ => None,
        }
    }
}

/// Lets go of versions below one, but for those at pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaiseWatermark {
    /// The watermark: at most the floor of the pins at `revision`, below which no pin can come any more.
    pub to: Version,
    /// The revision of the meta group's pins that `pins` is of.
    pub revision: u64,
    /// The versions of all pins that concern a key of the shard, strictly rising.
    pub pins: Vec<Version>,
}

/// Makes a branch of the shard: another one, of the same range, whose history up to a version is this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The branch's shard.
    pub shard: ShardId,
    /// Its table.
    pub table: TableId,
    /// The newest version that it has from this shard.
    pub version: Version,
    /// The revision of a catalog that the branch is in: if it is in none of a later one, it was dropped.
    pub revision: u64,
}

/// Makes the keys from one on another shard's, with a group of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The first key of the other shard: within this one, and not its first.
    pub at: Bytes,
    /// The other shard.
    pub child: ShardId,
    /// The nodes that its group begins with: the voters of this one's, rising.
    pub voters: Vec<NodeId>,
}

/// Conditions and operations that take effect together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The writer's token: required for keys of an owned range, refused for others.
    pub fence: Option<Token>,
    /// What must hold before the operations.
    pub conditions: Vec<Condition>,
    /// Ranges in which nothing may have changed since they were read.
    pub ranges: Vec<RangeRead>,
    /// The operations, in order; a later one sees the earlier ones.
    pub operations: Vec<Operation>,
}

/// A range that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// The range, within the shard.
    pub range: KeyRange,
    /// The version at which it was read.
    pub since: Version,
}

/// What all messages about a transaction carry: its name, and what whoever meets it must know to end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRef {
    /// The attempt.
    pub id: TxnId,
    /// A key of the shard where it is decided.
    pub anchor: Anchor,
    /// A prepare is refused from this version on: at most [`limits::TXN_MS_MAX`] above its stamp.
    pub until: Version,
}

/// A key of the shard where a transaction is decided. It names the shard also after splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The table.
    pub table: TableId,
    /// The key.
    pub key: Bytes,
}

/// A shard that takes part in a transaction, as it was when it was prepared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    /// The table.
    pub table: TableId,
    /// Its keys.
    pub range: KeyRange,
}

/// One shard's share of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The transaction.
    pub txn: TxnRef,
    /// All shards that take part, the anchor among them: told to the anchor only.
    pub participants: Vec<Participant>,
    /// What is read, and what is to be done on commit; each part with its writer's token.
    pub parts: Vec<Write>,
    /// A range to take on commit, and then there are no parts.
    pub take: Option<Box<Take>>,
}

/// Records at the anchor what becomes of a transaction. The first to do so decides; others are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    /// The transaction.
    pub txn: TxnRef,
    /// What to record.
    pub decision: Decision,
}

/// Does as was decided. At the anchor it comes last: all others have done so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// The transaction.
    pub txn: TxnRef,
    /// What was decided.
    pub decision: Decision,
}

impl Operation {
    /// Bytes of its key and value, or of the ends of its range.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeleteRange { range } => range.start().len() + range.end().map_or(0, Bytes::len),
            Self::Merge { key, operand, .. } => key.len() + operand.len(),
        }
    }
}

impl Operation {
    /// The key that it changes; a delete-range changes many.
    pub(super) const fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Merge { key, .. } => Some(key),
            Self::DeleteRange { .. } => None,
        }
    }

    /// The same, holding no other memory than its own: a slice of an entry would hold all of it.
    pub(super) fn owned(self) -> Self {
        let copy = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
        match self {
            Self::Put { key, value, expiry } => Self::Put { key: copy(key), value: copy(value), expiry },
            Self::Delete { key } => Self::Delete { key: copy(key) },
            Self::Merge { key, operator, operand, expiry } => {
                Self::Merge { key: copy(key), operator, operand: copy(operand), expiry }
            }
            range @ Self::DeleteRange { .. } => range,
        }
    }
}

impl Command {
    /// About how many changes and bytes the entry makes of the store. The entry itself has no more bytes, or a few.
    pub(super) fn room(&self) -> (usize, usize) {
        let of_operations = |write: &Write| {
            let bytes = write.operations.iter().map(|operation| HEAD_BYTES + operation.bytes()).sum::<usize>();
            (write.operations.len(), HEAD_BYTES + bytes)
        };
        let of_request = |request: &Request| match &request.action {
            Action::Write(write) => of_operations(write),
            Action::Prepare(prepare) => {
                let parts = prepare.parts.iter().map(of_operations);
                parts.fold((2, 3 * HEAD_BYTES), |sum, one| (sum.0 + one.0, sum.1 + one.1))
            }
            Action::RaiseWatermark(raise) => (2, HEAD_BYTES + 10 * raise.pins.len()),
            _ => (1, HEAD_BYTES),
        };
        self.requests.iter().map(of_request).fold((0, HEAD_BYTES), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// What must hold of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The key.
    pub key: Bytes,
    /// What must hold.
    pub expected: Expected,
}

/// What a condition expects of a key just before the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It has a value.
    Exists,
    /// It has none.
    Absent,
    /// Its value was last changed at this version.
    VersionIs(Version),
    /// It has this value.
    ValueIs(Bytes),
    /// Nothing of it has changed since it was read at this version.
    UnchangedSince(Version),
}

/// A change of one key, or of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// When the value ends; `None` leaves that to the table.
        expiry: Option<Expiry>,
    },
    /// Removes a value, if there is one.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Removes the values of all keys in a range: at most [`limits::DELETE_RANGE_KEYS_MAX`] of them, else the request is
    /// refused and can be continued in parts.
    DeleteRange {
        /// The range.
        range: KeyRange,
    },
    /// Folds an operand into a value at the server.
    Merge {
        /// The key.
        key: Bytes,
        /// How the operand folds.
        operator: MergeOperator,
        /// The operand.
        operand: Bytes,
        /// When the merged value ends; `None` leaves that to the table, and in a table without a TTL the end that the value
        /// has.
        expiry: Option<Expiry>,
    },
}

/// Makes `owner` the only writer of a range, and hides in parts of it what was written after a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// The range, within the shard.
    pub range: KeyRange,
    /// The owner's name: a job's, not a task's, so that a new attempt may take over from the old one.
    pub owner: Bytes,
    /// Whether to take over from another owner.
    pub force: bool,
    /// What goes back: within the range, in key order, disjoint.
    pub back: Vec<Back>,
}

/// A range that goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// The range.
    pub range: KeyRange,
    /// The newest version that stays visible.
    pub to: Version,
}

impl Take {
    /// The oldest version that a part of it goes back to.
    pub(super) fn oldest(&self) -> Option<Version> {
        self.back.iter().map(|back| back.to).min()
    }

    /// The same, holding no other memory than its own: a slice of an entry would hold all of it.
    pub(super) fn owned(mut self) -> Self {
        self.owner = Bytes::copy_from_slice(&self.owner);
        self
    }

    fn check(&self, node: &Limits) -> Result<(), Refusal> {
        check_range(&self.range, node)?;
        if self.owner.is_empty() || self.owner.len() > limits::OWNER_BYTES_MAX {
            return Err(Refusal::Invalid("owner names have 1 to 256 bytes"));
        }
        if self.back.len() > limits::BACK_RANGES_MAX {
            return Err(Refusal::Invalid("too many ranges go back at once; restore them in groups"));
        }
        self.back.iter().try_for_each(|back| check_range(&back.range, node))?;
        let is_inside = self.back.iter().all(|back| self.range.covers(&back.range));
        let is_before = |pair: &[Back]| pair[0].range.end().is_some_and(|end| end <= pair[1].range.start());
        if !is_inside || !self.back.windows(2).all(is_before) {
            return Err(Refusal::Invalid(
                "what goes back lies in the range that is taken, in key order, without overlap",
            ));
        }
        Ok(())
    }
}

/// Gives up what a token owns of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The range, within the shard.
    pub range: KeyRange,
    /// The token.
    pub token: Token,
}

impl Request {
    /// Checks the request against limits, whatever the state. A gateway calls it with the node's limits before any work
    /// is done; apply calls it with the format's.
    pub fn check(&self, node: &Limits) -> Result<(), Refusal> {
        if self.key.is_some_and(|key| key.issued > self.version) {
            return Err(Refusal::VersionTooNew { newest: self.version });
        }
        match &self.action {
            Action::Write(write) => write.check(node, 0),
            Action::Take(take) => take.check(node),
            Action::Prepare(prepare) => prepare.check(node, self.version),
            Action::RaiseWatermark(raise) => raise.check(),
            Action::Release(release) => check_range(&release.range, node),
            Action::Split(split) => check_key(&split.at, node),
            Action::Decline(_) | Action::Branch(_) | Action::DropBranch(_) => Ok(()),
            Action::Decide(Decide { txn, .. }) | Action::Resolve(Resolve { txn, .. }) | Action::Status(txn) => {
                txn.check(self.version)
            }
        }
    }
}

impl RaiseWatermark {
    fn check(&self) -> Result<(), Refusal> {
        if self.pins.len() > limits::PINS_PER_TABLE_MAX || !self.pins.is_sorted_by(|one, next| one < next) {
            return Err(Refusal::Invalid("a shard has at most 1000 pins, which are told in order, each once"));
        }
        Ok(())
    }
}

impl TxnRef {
    fn check(&self, stamp: Version) -> Result<(), Refusal> {
        if self.until.ms() > stamp.ms().saturating_add(limits::TXN_MS_MAX) {
            return Err(Refusal::Invalid("a transaction would have to be kept in mind for too long"));
        }
        Ok(())
    }
}

impl Prepare {
    fn check(&self, node: &Limits, stamp: Version) -> Result<(), Refusal> {
        let keys = self.parts.iter().map(|part| part.operations.len() + part.conditions.len()).sum::<usize>();
        let ranges = self.parts.iter().map(Write::held_ranges).sum::<usize>();
        if keys > limits::TXN_KEYS_MAX || ranges > limits::RANGES_MAX || self.parts.len() > limits::TXN_PARTS_MAX {
            return Err(Refusal::Invalid("too many keys, ranges or parts in one transaction; split it"));
        }
        if self.participants.len() > limits::TXN_SHARDS_MAX {
            return Err(Refusal::Invalid("too many shards take part in one transaction; split it"));
        }
        if self.txn.until.ms() > stamp.ms().saturating_add(limits::TXN_MS_MAX) {
            return Err(Refusal::Invalid("a transaction would have to be kept in mind for too long"));
        }
        if let Some(take) = &self.take {
            if !self.parts.is_empty() {
                return Err(Refusal::Invalid("a transaction that takes a range does nothing else"));
            }
            take.check(node)?;
        }
        let mut before = 0;
        for part in &self.parts {
            part.check(node, before)?;
            before += part.operations.len();
        }
        Ok(())
    }
}

impl Write {
    /// How many ranges it holds as a part of a transaction: those that were read, and those that are deleted.
    pub(super) fn held_ranges(&self) -> usize {
        let is_range = |operation: &&Operation| matches!(operation, Operation::DeleteRange { .. });
        self.ranges.len() + self.operations.iter().filter(is_range).count()
    }

    /// Operations are counted from `before`.
    fn check(&self, node: &Limits, before: usize) -> Result<(), Refusal> {
        if self.operations.len() > node.operations_max || self.conditions.len() > limits::CONDITIONS_MAX {
            return Err(Refusal::Invalid("too many operations or conditions in one request; split it"));
        }
        if self.ranges.len() > limits::RANGES_MAX {
            return Err(Refusal::Invalid("too many ranges in one request; read fewer, larger ones"));
        }
        self.ranges.iter().try_for_each(|read| check_range(&read.range, node))?;
        for condition in &self.conditions {
            check_key(&condition.key, node)?;
        }
        for (position, operation) in self.operations.iter().enumerate() {
            match operation {
                Operation::Put { key, value, .. } => {
                    check_key(key, node)?;
                    check_value(value, node)?;
                }
                Operation::Delete { key } => check_key(key, node)?,
                Operation::DeleteRange { range } => check_range(range, node)?,
                Operation::Merge { key, operator, operand, .. } => {
                    check_key(key, node)?;
                    check_value(operand, node)?;
                    operator
                        .check_operand(operand)
                        .map_err(|_| Refusal::WrongKind { position: position_of(before + position) })?;
                }
            }
        }
        Ok(())
    }
}

/// A position in a request's lists, which have at most 100,000 members.
pub(super) fn position_of(position: usize) -> u32 {
    u32::try_from(position).expect("lists of a request are bounded")
}

fn check_key(key: &[u8], node: &Limits) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(Refusal::Invalid("a key is empty; keys have at least one byte")),
        bytes if bytes > node.key_bytes_max => Err(Refusal::Invalid(
            "a key is longer than limits.key_bytes_max (16 KiB, or less on this node); shorten it",
        )),
        _ => Ok(()),
    }
}

/// A range may end just after the longest key, and begin there.
fn check_range(range: &KeyRange, node: &Limits) -> Result<(), Refusal> {
    let bounds = [range.start().len(), range.end().map_or(0, Bytes::len)];
    if bounds.into_iter().any(|bytes| bytes > node.key_bytes_max + 1) {
        return Err(Refusal::Invalid("a bound of a range is longer than any key; shorten it"));
    }
    Ok(())
}

fn check_value(value: &[u8], node: &Limits) -> Result<(), Refusal> {
    if value.len() > node.value_bytes_max {
        return Err(Refusal::Invalid(
            "a value is longer than limits.value_bytes_max (8 MiB, or less on this node); spread it over several keys",
        ));
    }
    Ok(())
}
