//! How scripts write versions, keys, values and records; what is printed can be typed in again.
//!
//! | thing | written | means |
//! |---|---|---|
//! | version | `5`, `5.2`, `5.end`, `max` | first of millisecond 5; two locals above; last of millisecond 5; after all |
//! | cell | `apple@5` | the key apple at version 5; without a version at `max` |
//! | range | `a..c`, `a..`, `"..c"` | half open; without a bound, to the end of the table |
//! | value | `b`, `fill/x/200`, `i64/-5`, `f64/1.5`, `set/a/b`, `hex/00ff` | text; repeated; the kinds that merges fold |
//! | value | `"fill/a/100+b"` | several of these, one behind the other |
//!
//! Strings stand for bytes: `"\xff"` is the one byte 255.

use std::fmt::Write as _;
use std::str::FromStr;

use lentic_engine::merge::set;
use lentic_engine::{MergeOperator, Record};
use lentic_types::{Expiry, KeyRange, Version};

/// Longest value that is printed as it is.
const PLAIN_BYTES_MAX: usize = 32;
/// Longest value that is printed as its kind.
const KIND_BYTES_MAX: usize = 160;
/// Shortest run of equal bytes that is printed as such.
const RUN_BYTES_MIN: usize = 8;

/// A version as scripts write it.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) Version);

/// A key.
pub(crate) struct Key(pub(crate) Vec<u8>);

/// A key at a version.
pub(crate) struct Cell {
    pub(crate) key: Vec<u8>,
    pub(crate) version: Version,
}

/// A range of keys.
pub(crate) struct Range(pub(crate) KeyRange);

/// A value or an operand.
pub(crate) struct Value(pub(crate) Vec<u8>);

/// A merge operator, by its name.
#[derive(Clone, Copy)]
pub(crate) struct Operator(pub(crate) MergeOperator);

/// Several versions, with commas between.
#[derive(Default)]
pub(crate) struct Versions(pub(crate) Vec<Version>);

/// As what a value is printed.
#[derive(Clone, Copy, Default)]
pub(crate) enum Kind {
    #[default]
    Bytes,
    I64,
    F64,
    Set,
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    text.chars().map(|c| u8::try_from(c).map_err(|_| format!("{c:?} is no byte; write \\x00 to \\xff"))).collect()
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self(Version::MAX));
        }
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| format!("expected a version, found {text}"));
        let tick = |ms| Version::tick(ms, 0).ok_or_else(|| format!("{text} is beyond the last millisecond"));
        match text.split_once('.') {
            None => Ok(Self(tick(number(text)?)?)),
            Some((ms, "end")) => Ok(Self(Version(tick(number(ms)? + 1)?.0 - 1))),
            Some((ms, local)) => Ok(Self(Version(tick(number(ms)?)?.0 + number(local)?))),
        }
    }
}

impl From<MergeOperator> for Kind {
    fn from(operator: MergeOperator) -> Self {
        match operator {
            MergeOperator::AddI64 | MergeOperator::MinI64 | MergeOperator::MaxI64 => Self::I64,
            MergeOperator::AddF64 | MergeOperator::MinF64 | MergeOperator::MaxF64 => Self::F64,
            MergeOperator::Append | MergeOperator::MinBytes | MergeOperator::MaxBytes => Self::Bytes,
            MergeOperator::SetUnion => Self::Set,
        }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text).map(Self)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, version) = text.rsplit_once('@').unwrap_or((text, "max"));
        Ok(Self { key: bytes(key)?, version: version.parse::<At>()?.0 })
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once("..").ok_or("expected a range such as a..c")?;
        let end = if end.is_empty() { None } else { Some(bytes(end)?) };
        KeyRange::new(bytes(start)?, end).map(Self).map_err(|reason| reason.to_string())
    }
}

impl FromStr for Operator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        MergeOperator::from_name(text).map(Self).ok_or_else(|| format!("{text} is no merge operator"))
    }
}

impl FromStr for Versions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|version| version.parse::<At>().map(|at| at.0)).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "i64" => Ok(Self::I64),
            "f64" => Ok(Self::F64),
            "set" => Ok(Self::Set),
            _ => Err("expected i64, f64 or set".to_owned()),
        }
    }
}

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('+') {
            let parts = text.split('+').map(|part| part.parse().map(|Self(part)| part));
            return Ok(Self(parts.collect::<Result<Vec<_>, _>>()?.concat()));
        }
        let Some((form, rest)) = text.split_once('/') else { return bytes(text).map(Self) };
        let unreadable = || format!("{rest} is no {form}");
        let value = match form {
            "i64" => rest.parse::<i64>().map_err(|_| unreadable())?.to_be_bytes().to_vec(),
            "f64" => rest.parse::<f64>().map_err(|_| unreadable())?.to_be_bytes().to_vec(),
            "set" => {
                let members = rest.split('/').map(bytes).collect::<Result<Vec<_>, _>>()?;
                set::encode(members.iter().map(Vec::as_slice))
            }
            "fill" => {
                let (part, times) = rest.rsplit_once('/').ok_or_else(unreadable)?;
                bytes(part)?.repeat(times.parse().map_err(|_| unreadable())?)
            }
            "hex" => {
                let digits = (0..rest.len()).step_by(2).map(|at| rest.get(at..at + 2).ok_or_else(unreadable));
                let byte = |digits: &str| u8::from_str_radix(digits, 16).map_err(|_| unreadable());
                digits.map(|digits| byte(digits?)).collect::<Result<_, _>>()?
            }
            _ => bytes(text)?,
        };
        Ok(Self(value))
    }
}

/// Prints a version, with its `@`.
pub(crate) fn version(version: Version) -> String {
    let tick = Version::tick(version.ms(), 0).expect("the milliseconds of a version");
    match version.0 - tick.0 {
        _ if version == Version::MAX => "@max".to_owned(),
        0 => format!("@{}", version.ms()),
        local @ ..=0xff => format!("@{}.{local}", version.ms()),
        _ if version.0 + 1 == Version::tick(version.ms() + 1, 0).map_or(0, |next| next.0) => {
            format!("@{}.end", version.ms())
        }
        above => panic!("scripts have no way to write the version {above} above a millisecond"),
    }
}

/// Prints bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() { "\"\"".to_owned() } else { bytes.escape_ascii().to_string() }
}

/// Prints a range.
pub(crate) fn range(range: &KeyRange) -> String {
    let end = range.end().map_or_else(String::new, |end| end.escape_ascii().to_string());
    format!("{}..{end}", range.start().escape_ascii())
}

/// Prints a value: long ones by their runs of equal bytes, those of a kind as that kind, if they are of it.
pub(crate) fn value(kind: Kind, value: &[u8]) -> String {
    let number: Option<[u8; 8]> = value.try_into().ok();
    let as_kind = match kind {
        _ if value.len() > KIND_BYTES_MAX => None,
        Kind::Bytes => None,
        Kind::I64 => number.map(|number| format!("i64/{}", i64::from_be_bytes(number))),
        Kind::F64 => number.map(|number| format!("f64/{:?}", f64::from_be_bytes(number))),
        Kind::Set => set::members(value).filter(|members| !members.is_empty()).map(|members| {
            members.iter().fold("set".to_owned(), |out, member| format!("{out}/{}", member.escape_ascii()))
        }),
    };
    as_kind.unwrap_or_else(|| if value.len() > PLAIN_BYTES_MAX { runs(value) } else { text(value) })
}

fn runs(value: &[u8]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut ends_in_run = true;
    for run in value.chunk_by(|a, b| a == b) {
        let is_run = run.len() >= RUN_BYTES_MIN;
        match parts.last_mut() {
            Some(last) if !is_run && !ends_in_run => last.push_str(&text(run)),
            _ if is_run => parts.push(format!("fill/{}/{}", text(&run[..1]), run.len())),
            _ => parts.push(text(run)),
        }
        ends_in_run = is_run;
    }
    parts.join("+")
}

/// Prints a record.
pub(crate) fn record(kind: Kind, record: &Record<'_>) -> String {
    match record {
        Record::Put { value: bytes, expiry } => format!("put {}{}", value(kind, bytes), until(*expiry)),
        Record::Delete => "delete".to_owned(),
        Record::Operand { operand, expiry } => {
            let (bytes, name) = (value(kind, operand.bytes), operator_name(operand.operator));
            let place = format!("depth {}, {} bytes", operand.depth, operand.folded_bytes);
            format!("{name} {bytes} ({place}){}", until(*expiry))
        }
    }
}

/// The name of an operator.
pub(crate) fn operator_name(operator: MergeOperator) -> &'static str {
    let named = MergeOperator::ALL.into_iter().find(|(other, _)| *other == operator);
    named.expect("every operator has a name").1
}

/// Prints when something ends, if it does.
pub(crate) fn until(expiry: Option<Expiry>) -> String {
    expiry.map_or_else(String::new, |expiry| format!(" until {}", expiry.0))
}

/// Prints bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes all");
        out
    })
}
