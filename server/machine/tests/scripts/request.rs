//! The commands of a script that go through the log.
//!
//! ```text
//! write 5 put=k/v until=9 delete=k delete-range=a..c merge=k/append/x exists=k absent=k version=k@3 value=k/v fence=4
//!         unchanged=k@3 read=a..c@3
//! take 5 a..c owner=job back=a..b@3 back=b..c@4 [force]
//! release 5 [a..c] token=4
//! raise 5 to=3 pins=1/2 revision=1
//! decline 5 conflict
//! branch 5 12 at=3 [revision=1]
//! drop-branch 5 12
//! split 5 9 key-of-split=k
//! prepare 5 x1 anchor=k by=100 with=a..m with=t9/.. put=k/v and fence=4 put=m/v
//! prepare 5 x1 take=a..c owner=job back=a..b@3 [force]
//! decide 5 x1 anchor=k commit=4
//! resolve 5 x1 abort
//! status 5 x1
//! ```
//!
//! The first argument is the request's stamp. Operations and conditions are done in the order in which they stand, and
//! `until` says when the value of the operation before it ends. `put-many=100/v` puts 100 keys, `absent-many=100` expects
//! them not to be there. Every request may have `key=client/sequence/acked-below/issued`, and `epoch=` and `index=`
//! of its entry; with `of=12` the entry is one of the shard 12 of a branch, whose table is t112. Where a key stands, `fill.k.300` is a key of 300 bytes.
//!
//! `x1` is the transaction that began at @1, `x1.2` the attempt 2 of the same age. A prepare's arguments are those of a
//! write, and `and` begins another part. `anchor=` names a key of the shard where it is decided: `k` is one of this table,
//! `t9/k` one elsewhere. Without it, a prepare is anchored elsewhere, and a decision is sent here. A prepare with its
//! anchor here tells who takes part: `with=` one after the other, or else all of this table and all of t9. It is refused
//! from the version `by` on, @5000 if there is none.

use bytes::Bytes;
use goldenscript::{Argument, Context};
use lentic_machine::shard::{
    Action, Anchor, Back, Branch, Condition, Decide, Decision, Expected, Operation, Participant, Prepare,
    RaiseWatermark, RangeRead, Release, RequestKey, Resolve, Split, Take, Token, TxnRef, Write,
};
use lentic_machine::{Refusal, Request};
use lentic_types::{ClientId, Epoch, Expiry, Index, KeyRange, NodeId, ShardId, TableId, TxnId, Version};

use crate::notation::{At, Cell, Key, Operator, Value};
use crate::runner::TABLE;

/// A table that is none of this shard's.
const ELSEWHERE: TableId = TableId(9);

/// A request, and what is unusual about its entry.
pub(crate) struct Line {
    pub(crate) request: Request,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) index: Option<Index>,
    pub(crate) rider: Option<ShardId>,
}

type Parsed<T> = Result<T, Box<dyn std::error::Error>>;

/// What an argument may set, whatever the command.
#[derive(Default)]
struct Fields {
    positional: Vec<String>,
    /// The parts before the last one.
    parts: Vec<Write>,
    write: Write,
    txn: TxnFields,
    key: Option<RequestKey>,
    take: Option<KeyRange>,
    back: Vec<Back>,
    owner: Bytes,
    to: Version,
    pins: Vec<Version>,
    revision: u64,
    token: Version,
    at: Version,
    split_at: Bytes,
    rider: Option<ShardId>,
    epoch: Option<Epoch>,
    index: Option<Index>,
}

/// What is said of a transaction.
#[derive(Default)]
struct TxnFields {
    anchor: Option<Anchor>,
    by: Option<Version>,
    participants: Option<Vec<Participant>>,
    commit: Option<Version>,
}

/// Reads one line.
pub(crate) fn parse(command: &goldenscript::Command, context: &Context) -> Parsed<Line> {
    let mut fields = Fields::default();
    for argument in &command.args {
        match argument {
            Argument::KeyValue(name, value) => fields.set(name, value)?,
            Argument::Positional(value) if value == "and" => fields.parts.push(std::mem::take(&mut fields.write)),
            Argument::Positional(value) => fields.positional.push(value.clone()),
            _ => return Err("expected an argument, or name=argument".into()),
        }
    }
    let force = context.tags.contains("force");
    let Fields { positional, parts, write, txn, key, take, back, owner, to, pins, revision, token, .. } = fields;
    let Fields { at, split_at, rider, epoch, index, .. } = fields;
    let version = positional.first().ok_or("expected the request's stamp")?.parse::<At>()?.0;
    let range = || range(positional.get(1).ok_or("expected a range")?);
    let second = || positional.get(1).map(String::as_str);
    let action = match command.name.as_str() {
        "write" => Action::Write(write),
        "take" => Action::Take(Take { range: range()?, owner, force, back }),
        "release" => {
            let range = second().map_or_else(|| Ok(KeyRange::all()), self::range)?;
            Action::Release(Release { range, token: Token(token) })
        }
        "raise" => Action::RaiseWatermark(RaiseWatermark { to, revision, pins }),
        "branch" => {
            let shard = shard(second())?;
            Action::Branch(Branch { shard, table: table_of(shard), version: at, revision })
        }
        "drop-branch" => Action::DropBranch(shard(second())?),
        "split" => {
            let voters = (1..=3).map(NodeId).collect();
            Action::Split(Split { at: split_at, child: shard(second())?, voters })
        }
        "decline" => Action::Decline(refusal(second())?),
        "prepare" => {
            let (name, participants) = (txn.name(second(), elsewhere())?, txn.participants());
            let take = take.map(|range| Box::new(Take { range, owner, force, back }));
            let last = if take.is_some() && write == Write::default() { None } else { Some(write) };
            Action::Prepare(Prepare { txn: name, participants, parts: parts.into_iter().chain(last).collect(), take })
        }
        "decide" => Action::Decide(Decide { txn: txn.name(second(), here("a".into()))?, decision: txn.decision() }),
        "resolve" => Action::Resolve(Resolve { txn: txn.name(second(), elsewhere())?, decision: txn.decision() }),
        "status" => Action::Status(txn.name(second(), elsewhere())?),
        name => return Err(format!("there is no command {name}").into()),
    };
    Ok(Line { request: Request { version, key, action }, epoch, index, rider })
}

fn shard(number: Option<&str>) -> Parsed<ShardId> {
    Ok(ShardId(number.ok_or("expected the number of a branch's shard")?.parse()?))
}

/// The table of a branch's shard.
pub(crate) fn table_of(shard: ShardId) -> TableId {
    TableId(100 + u32::try_from(shard.0).expect("a small number"))
}

/// What is declined, and why: an operation that is too large, unless another reason is given.
fn refusal(reason: Option<&str>) -> Parsed<Refusal> {
    Ok(match reason {
        None => Refusal::TooLarge { position: 0 },
        Some("condition") => Refusal::ConditionFailed { position: 0, found: None },
        Some("conflict") => Refusal::Conflict { position: 0 },
        Some(reason) => return Err(format!("expected condition or conflict, found {reason}").into()),
    })
}

fn here(key: Bytes) -> Anchor {
    Anchor { table: TABLE, key }
}

fn elsewhere() -> Anchor {
    Anchor { table: ELSEWHERE, key: "a".into() }
}

impl TxnFields {
    fn name(&self, id: Option<&str>, anchor: Anchor) -> Parsed<TxnRef> {
        let id = txn_id(id.ok_or("expected a transaction such as x1")?)?;
        let until = self.by.unwrap_or(Version::tick(5_000, 0).expect("early"));
        Ok(TxnRef { id, anchor: self.anchor.clone().unwrap_or(anchor), until })
    }

    fn participants(&self) -> Vec<Participant> {
        let of = |table| Participant { table, range: KeyRange::all() };
        let is_here = self.anchor.as_ref().is_some_and(|anchor| anchor.table == TABLE);
        let all = if is_here { vec![of(TABLE), of(ELSEWHERE)] } else { Vec::new() };
        self.participants.clone().unwrap_or(all)
    }

    /// Abort, unless a version to commit at is given.
    fn decision(&self) -> Decision {
        self.commit.map_or(Decision::Abort, Decision::Commit)
    }
}

impl Fields {
    fn set(&mut self, name: &str, value: &str) -> Parsed<()> {
        let Write { conditions, ranges, operations, fence } = &mut self.write;
        match name {
            "key" => self.key = Some(request_key(value)?),
            "take" => self.take = Some(range(value)?),
            "back" => {
                let (keys, to) = value.split_once('@').ok_or("expected a range and a version such as a..c@3")?;
                self.back.push(Back { range: range(keys)?, to: to.parse::<At>()?.0 });
            }
            "owner" => self.owner = bytes(value)?,
            "to" => self.to = value.parse::<At>()?.0,
            "pins" => {
                self.pins = value.split('/').map(|pin| pin.parse::<At>().map(|at| at.0)).collect::<Result<_, _>>()?;
            }
            "revision" => self.revision = value.parse()?,
            "key-of-split" => self.split_at = bytes(value)?,
            "at" => self.at = value.parse::<At>()?.0,
            "of" => self.rider = Some(ShardId(value.parse()?)),
            "token" => self.token = value.parse::<At>()?.0,
            "epoch" => self.epoch = Some(Epoch(value.parse()?)),
            "index" => self.index = Some(Index(value.parse()?)),
            "fence" => *fence = Some(Token(value.parse::<At>()?.0)),
            "exists" => conditions.push(Condition { key: bytes(value)?, expected: Expected::Exists }),
            "absent" => conditions.push(Condition { key: bytes(value)?, expected: Expected::Absent }),
            "absent-many" => {
                let condition = |key| Condition { key, expected: Expected::Absent };
                conditions.extend(keys(value.parse()?).map(condition));
            }
            "version" => {
                let Cell { key, version } = value.parse()?;
                conditions.push(Condition { key: key.into(), expected: Expected::VersionIs(version) });
            }
            "value" => {
                let (key, value) = pair(value)?;
                conditions.push(Condition { key: bytes(key)?, expected: Expected::ValueIs(self::value(value)?) });
            }
            "unchanged" => {
                let Cell { key, version } = value.parse()?;
                conditions.push(Condition { key: key.into(), expected: Expected::UnchangedSince(version) });
            }
            "read" => {
                let (keys, since) = value.split_once('@').ok_or("expected a range and a version such as a..c@3")?;
                ranges.push(RangeRead { range: range(keys)?, since: since.parse::<At>()?.0 });
            }
            "put" => {
                let (key, value) = pair(value)?;
                operations.push(Operation::Put { key: bytes(key)?, value: self::value(value)?, expiry: None });
            }
            "put-many" => {
                let (count, value) = pair(value)?;
                let value = self::value(value)?;
                let put = |key| Operation::Put { key, value: value.clone(), expiry: None };
                operations.extend(keys(count.parse()?).map(put));
            }
            "delete" => operations.push(Operation::Delete { key: bytes(value)? }),
            "delete-range" => operations.push(Operation::DeleteRange { range: range(value)? }),
            "merge" => {
                let (key, rest) = pair(value)?;
                let (operator, operand) = pair(rest)?;
                let (operator, operand) = (operator.parse::<Operator>()?.0, self::value(operand)?);
                operations.push(Operation::Merge { key: bytes(key)?, operator, operand, expiry: None });
            }
            "until" => {
                let until = Some(Expiry(value.parse()?));
                match operations.last_mut() {
                    Some(Operation::Put { expiry, .. } | Operation::Merge { expiry, .. }) => *expiry = until,
                    _ => return Err("expected a put or a merge before until".into()),
                }
            }
            _ => self.txn.set(name, value)?,
        }
        Ok(())
    }
}

impl TxnFields {
    fn set(&mut self, name: &str, value: &str) -> Parsed<()> {
        match name {
            "anchor" => {
                let (table, key) = of_table(value)?;
                self.anchor = Some(Anchor { table, key: bytes(key)? });
            }
            "by" => self.by = Some(value.parse::<At>()?.0),
            "with" if value == "none" => self.participants = Some(Vec::new()),
            "with" => {
                let (table, keys) = of_table(value)?;
                self.participants.get_or_insert_default().push(Participant { table, range: range(keys)? });
            }
            "commit" => self.commit = Some(value.parse::<At>()?.0),
            _ => return Err(format!("there is no argument {name}").into()),
        }
        Ok(())
    }
}

/// `k` of this table, or `t9/k`.
fn of_table(text: &str) -> Parsed<(TableId, &str)> {
    match text.strip_prefix('t').and_then(|rest| rest.split_once('/')) {
        Some((table, rest)) => Ok((TableId(table.parse()?), rest)),
        None => Ok((TABLE, text)),
    }
}

fn txn_id(text: &str) -> Parsed<TxnId> {
    let name = text.strip_prefix('x').ok_or("expected a transaction such as x1")?;
    let (begun, number) = name.split_once('.').unwrap_or((name, "0"));
    Ok(TxnId { begun: begun.parse::<At>()?.0, node: NodeId(1), number: number.parse()? })
}

fn request_key(text: &str) -> Parsed<RequestKey> {
    let parts: Vec<_> = text.split('/').collect();
    let [client, sequence, acked_below, issued] = parts[..] else {
        return Err("expected key=client/sequence/acked-below/issued".into());
    };
    Ok(RequestKey {
        client: ClientId(client.parse()?),
        sequence: sequence.parse()?,
        acked_below: acked_below.parse()?,
        issued: issued.parse::<At>()?.0,
    })
}

fn pair(text: &str) -> Parsed<(&str, &str)> {
    text.split_once('/').ok_or_else(|| format!("expected two things with a slash between, found {text}").into())
}

/// A key or a name.
fn bytes(text: &str) -> Parsed<Bytes> {
    if let Some(("fill", rest)) = text.split_once('.') {
        let (part, times) = rest.split_once('.').ok_or("expected fill.part.times")?;
        return Ok(part.repeat(times.parse()?).into());
    }
    Ok(text.parse::<Key>()?.0.into())
}

fn value(text: &str) -> Parsed<Bytes> {
    Ok(text.parse::<Value>()?.0.into())
}

fn range(text: &str) -> Parsed<KeyRange> {
    let (start, end) = text.split_once("..").ok_or("expected a range such as a..c")?;
    let end = if end.is_empty() { None } else { Some(bytes(end)?) };
    Ok(KeyRange::new(bytes(start)?, end)?)
}

/// Keys k00000, k00001 and so on.
fn keys(count: usize) -> impl Iterator<Item = Bytes> {
    (0..count).map(|number| format!("k{number:05}").into())
}
