//! The commands of a script that go through the log.
//!
//! ```text
//! write 5 put=k/v until=9 delete=k delete-range=a..c merge=k/append/x exists=k absent=k version=k@3 value=k/v fence=4
//! acquire 5 a..c owner=job [force]
//! release 5 token=4
//! rollback 5 a..c to=3 owner=job [force]
//! raise 5 to=3
//! ```
//!
//! The first argument is the request's stamp. Operations and conditions are done in the order in which they stand, and
//! `until` says when the value of the operation before it ends. `put-many=100/v` puts 100 keys, `absent-many=100` expects
//! them not to be there. Every request may have `key=client/sequence/acked-below/issued`, and `epoch=` and `index=`
//! of its entry. Where a key stands, `fill.k.300` is a key of 300 bytes.

use bytes::Bytes;
use goldenscript::{Argument, Context};
use lentic_machine::Request;
use lentic_machine::shard::{
    Acquire, Action, Condition, Expected, Operation, Release, RequestKey, Rollback, Token, Write,
};
use lentic_types::{ClientId, Epoch, Expiry, Index, KeyRange, Version};

use crate::notation::{At, Cell, Key, Operator, Value};

/// A request, and what is unusual about its entry.
pub(crate) struct Line {
    pub(crate) request: Request,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) index: Option<Index>,
}

type Parsed<T> = Result<T, Box<dyn std::error::Error>>;

/// What an argument may set, whatever the command.
#[derive(Default)]
struct Fields {
    positional: Vec<String>,
    write: Write,
    key: Option<RequestKey>,
    owner: Bytes,
    to: Version,
    token: Version,
    epoch: Option<Epoch>,
    index: Option<Index>,
}

/// Reads one line.
pub(crate) fn parse(command: &goldenscript::Command, context: &Context) -> Parsed<Line> {
    let mut fields = Fields::default();
    for argument in &command.args {
        match argument {
            Argument::KeyValue(name, value) => fields.set(name, value)?,
            Argument::Positional(value) => fields.positional.push(value.clone()),
            _ => return Err("expected an argument, or name=argument".into()),
        }
    }
    let force = context.tags.contains("force");
    let Fields { positional, write, key, owner, to, token, epoch, index } = fields;
    let version = positional.first().ok_or("expected the request's stamp")?.parse::<At>()?.0;
    let range = || range(positional.get(1).ok_or("expected a range")?);
    let action = match command.name.as_str() {
        "write" => Action::Write(write),
        "acquire" => Action::Acquire(Acquire { range: range()?, owner, force }),
        "release" => Action::Release(Release { token: Token(token) }),
        "rollback" => Action::Rollback(Rollback { range: range()?, to, owner, force }),
        "raise" => Action::RaiseWatermark(to),
        "decline" => Action::Decline { position: 0 },
        name => return Err(format!("there is no command {name}").into()),
    };
    Ok(Line { request: Request { version, key, action }, epoch, index })
}

impl Fields {
    fn set(&mut self, name: &str, value: &str) -> Parsed<()> {
        let Write { conditions, operations, fence } = &mut self.write;
        match name {
            "key" => self.key = Some(request_key(value)?),
            "owner" => self.owner = bytes(value)?,
            "to" => self.to = value.parse::<At>()?.0,
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
            _ => return Err(format!("there is no argument {name}").into()),
        }
        Ok(())
    }
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
