//! Scripts as JSON: the words of the text, with names.

use bytes::Bytes;
use lentic_client::prefix_range;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::lines::{operator, range, token, ttl};
use super::script::{ScriptError, check_count};
use super::statement::{Action, Condition, Statement};
use crate::args::version;
use crate::text::{Syntax, bytes_of_members, operand};

/// The statements of a script: a list of them, or an object with one.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, ScriptError> {
    let list: Result<Vec<&RawValue>, _> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text),
        false => serde_json::from_str::<Top<'_>>(text).map(|top| top.statements),
    };
    let list = list.map_err(|error| ScriptError::at(error.line(), told(&error)))?;
    check_count(list.len())?;
    let mut lines = Lines { text, at: 0, line: 1 };
    let read = |raw: &RawValue| {
        let line = lines.line_of(raw.get());
        let named: Named = serde_json::from_str(raw.get())
            .map_err(|error| ScriptError::at(line + error.line().saturating_sub(1), told(&error)))?;
        let (table, action) = named.action().map_err(|message| ScriptError::at(line, message))?;
        Ok(Statement { line, table, action })
    };
    list.into_iter().map(read).collect()
}

/// What is wrong, without the place.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
    format!("expected JSON as `lentic txn --help` shows it: {message}")
}

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    statements: Vec<&'a RawValue>,
}

/// Finds lines of parts of a text, in their order.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line where `part`, which is a part of the text, begins.
    fn line_of(&mut self, part: &str) -> usize {
        let offset = part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        let between = self.text.as_bytes().get(self.at..offset).unwrap_or_default();
        self.line += between.iter().filter(|byte| **byte == b'\n').count();
        self.at = offset;
        self.line
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Named {
    Get(OfKey),
    Scan(OfRange),
    Put(Put),
    Delete(OfKey),
    DeleteRange(OfRange),
    Merge(Merge),
    Require(Require),
    Fence(Fence),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKey {
    table: String,
    key: Option<String>,
    key_hex: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRange {
    table: String,
    start: Option<String>,
    start_hex: Option<String>,
    end: Option<String>,
    end_hex: Option<String>,
    prefix: Option<String>,
    prefix_hex: Option<String>,
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    table: String,
    key: Option<String>,
    key_hex: Option<String>,
    value: Option<String>,
    value_hex: Option<String>,
    ttl: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    table: String,
    key: Option<String>,
    key_hex: Option<String>,
    operator: String,
    operand: Option<Value>,
    operand_hex: Option<Value>,
    ttl: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Require {
    table: String,
    key: Option<String>,
    key_hex: Option<String>,
    exists: Option<bool>,
    absent: Option<bool>,
    value: Option<String>,
    value_hex: Option<String>,
    version: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fence {
    table: String,
    token: Value,
}

impl Named {
    fn action(self) -> Result<(String, Action), String> {
        Ok(match self {
            Self::Get(OfKey { table, key, key_hex }) => (table, Action::Get { key: needed("key", key, key_hex)? }),
            Self::Delete(OfKey { table, key, key_hex }) => {
                (table, Action::Delete { key: needed("key", key, key_hex)? })
            }
            Self::Scan(scan) => scan.scan()?,
            Self::DeleteRange(delete) => delete.delete()?,
            Self::Put(Put { table, key, key_hex, value, value_hex, ttl: text }) => {
                let (key, value) = (needed("key", key, key_hex)?, needed("value", value, value_hex)?);
                (table, Action::Put { key, value, ttl: text.map(|text| ttl(&text)).transpose()? })
            }
            Self::Merge(merge) => merge.action()?,
            Self::Require(require) => require.action()?,
            Self::Fence(Fence { table, token: number }) => {
                (table, Action::Fence { token: token(&word("token", number)?)? })
            }
        })
    }
}

impl OfRange {
    fn scan(self) -> Result<(String, Action), String> {
        let Self { table, start, start_hex, end, end_hex, prefix, prefix_hex, limit } = self;
        let (start, end) = (bytes("start", start, start_hex)?, bytes("end", end, end_hex)?);
        let range = match (bytes("prefix", prefix, prefix_hex)?, &start, &end) {
            (Some(prefix), None, None) => prefix_range(prefix),
            (Some(_), ..) => return Err("expected either \"prefix\" or \"start\" and \"end\", found both".to_owned()),
            (None, ..) => range(start.unwrap_or_default(), end)?,
        };
        Ok((table, Action::Scan { range, limit }))
    }

    fn delete(self) -> Result<(String, Action), String> {
        let Self { table, start, start_hex, end, end_hex, prefix, prefix_hex, limit } = self;
        if prefix.is_some() || prefix_hex.is_some() || limit.is_some() {
            return Err(
                "expected \"start\" and \"end\" of what is to be deleted, and no \"prefix\" or \"limit\"".to_owned()
            );
        }
        let (start, end) = (needed("start", start, start_hex)?, needed("end", end, end_hex)?);
        Ok((table, Action::DeleteRange { range: range(start, Some(end))? }))
    }
}

impl Merge {
    fn action(self) -> Result<(String, Action), String> {
        let Self { table, key, key_hex, operator: name, operand: text, operand_hex: hex, ttl: span } = self;
        let (key, operator) = (needed("key", key, key_hex)?, operator(&name)?);
        let (given, syntax) = match (text, hex) {
            (Some(text), None) => (text, Syntax::Text),
            (None, Some(hex)) => (hex, Syntax::Hex),
            _ => return Err("expected one of \"operand\" and \"operand_hex\"".to_owned()),
        };
        let words: Vec<String> = match given {
            Value::Array(list) => list.into_iter().map(|value| word("operand", value)).collect::<Result<_, _>>()?,
            value => vec![word("operand", value)?],
        };
        if words.is_empty() {
            return Err("\"operand\" is empty; expected at least one".to_owned());
        }
        let operand = operand(operator, &words, syntax)?.into();
        Ok((table, Action::Merge { key, operator, operand, ttl: span.map(|text| ttl(&text)).transpose()? }))
    }
}

impl Require {
    fn action(self) -> Result<(String, Action), String> {
        let Self { table, key, key_hex, exists, absent, value, value_hex, version: wanted } = self;
        let key = needed("key", key, key_hex)?;
        let condition = match (exists, absent, bytes("value", value, value_hex)?, wanted) {
            (Some(true), None, None, None) => Condition::Exists,
            (None, Some(true), None, None) => Condition::Absent,
            (None, None, Some(value), None) => Condition::Value(value),
            (None, None, None, Some(wanted)) => Condition::Version(version(&word("version", wanted)?)?),
            _ => {
                let expected = "\"exists\": true, \"absent\": true, \"value\" or \"value_hex\", or \"version\"";
                return Err(format!("expected one condition: {expected}"));
            }
        };
        Ok((table, Action::Require { key, condition }))
    }
}

fn bytes(name: &str, text: Option<String>, hex: Option<String>) -> Result<Option<Bytes>, String> {
    Ok(bytes_of_members(name, text.map(Into::into), hex.map(Into::into))?.map(Bytes::from))
}

fn needed(name: &str, text: Option<String>, hex: Option<String>) -> Result<Bytes, String> {
    bytes(name, text, hex)?.ok_or_else(|| format!("there is neither {name:?} nor \"{name}_hex\""))
}

/// A number or a string as a word.
fn word(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("expected a number or a string in {name:?}, found {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let statements = parse(text).map_err(|error| error.to_string())?;
        Ok(statements.iter().map(|statement| format!("{}: {statement}", statement.line)).collect())
    }

    #[test]
    fn every_statement_is_read() {
        let script = r#"{"statements": [
            {"get": {"table": "t", "key": "k"}},
            {"get": {"table": "t", "key_hex": "00ff"}},
            {"scan": {"table": "t"}}, {"scan": {"table": "t", "start": "a", "end_hex": "62", "limit": 5}},
            {"scan": {"table": "t", "prefix": "a"}},
            {"put": {"table": "t", "key": "k", "value_hex": "00", "ttl": "10m"}},
            {"delete": {"table": "t", "key": "k"}},
            {"delete-range": {"table": "t", "start": "a", "end": "b"}},
            {"merge": {"table": "t", "key": "k", "operator": "add-i64", "operand": -5}},
            {"merge": {"table": "t", "key": "k", "operator": "add-f64", "operand": 0.5, "ttl": "1h"}},
            {"merge": {"table": "t", "key": "k", "operator": "set-union", "operand": ["b", "a"]}},
            {"merge": {"table": "t", "key": "k", "operator": "append", "operand_hex": "ff"}},
            {"require": {"table": "t", "key": "k", "exists": true}},
            {"require": {"table": "t", "key": "k", "absent": true}},
            {"require": {"table": "t", "key": "k", "value": ""}},
            {"require": {"table": "t", "key": "k", "version": "868421309857595392"}},
            {"fence": {"table": "t", "token": 7}}
        ], "outcome": "dry_run"}"#;
        let expected = [
            "2: get t k",
            "3: get t \\x00\\xff",
            "4: scan t",
            "4: scan t a b --limit 5",
            "5: scan t a b",
            "6: put t k \\x00 --ttl 10m",
            "7: delete t k",
            "8: delete-range t a b",
            "9: merge t k add-i64 -5",
            "10: merge t k add-f64 0.5 --ttl 1h",
            "11: merge t k set-union a b",
            "12: merge t k append \\xff",
            "13: require t k exists",
            "14: require t k absent",
            "15: require t k value ''",
            "16: require t k version v868421309857595392",
            "17: fence t 7",
        ];
        assert_eq!(shown(script).unwrap(), expected);
        assert_eq!(shown("\n[\n{\"get\":{\"table\":\"t\",\"key\":\"k\"}}]").unwrap(), ["3: get t k"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let json = "expected JSON as `lentic txn --help` shows it: ";
        let wrong = [
            ("{\n\"statement\": []}", format!("line 2: {json}missing field `statements`")),
            ("[\n\n}", format!("line 3: {json}expected value")),
            ("[{\"gett\": {}}]", format!("line 1: {json}unknown variant `gett`, expected one of `get`, `scan`")),
            (
                "[\n{\"get\":\n{\"table\":\"t\",\"kee\":1}}]",
                format!("line 3: {json}unknown field `kee`, expected one of `table`"),
            ),
            ("[{\"get\":{\"key\":\"k\"}}]", format!("line 1: {json}missing field `table`")),
            ("[\n{\"get\":{\"table\":\"t\"}}]", "line 2: there is neither \"key\" nor \"key_hex\"".to_owned()),
            (
                r#"[{"get":{"table":"t","key":"","key_hex":""}}]"#,
                "line 1: there are both \"key\" and \"key_hex\"".to_owned(),
            ),
            (r#"[{"put":{"table":"t","key":"k"}}]"#, "line 1: there is neither \"value\" nor".to_owned()),
            (r#"[{"scan":{"table":"t","start":"a","prefix":"b"}}]"#, "line 1: expected either \"prefix\"".to_owned()),
            (r#"[{"delete-range":{"table":"t","start":"a"}}]"#, "line 1: there is neither \"end\"".to_owned()),
            (r#"[{"delete-range":{"table":"t","prefix":"a"}}]"#, "line 1: expected \"start\" and \"end\"".to_owned()),
            (
                r#"[{"merge":{"table":"t","key":"k","operator":"append"}}]"#,
                "line 1: expected one of \"operand\"".to_owned(),
            ),
            (
                r#"[{"merge":{"table":"t","key":"k","operator":"set-union","operand":[]}}]"#,
                "line 1: \"operand\" is".to_owned(),
            ),
            (
                r#"[{"merge":{"table":"t","key":"k","operator":"append","operand":true}}]"#,
                "line 1: expected a number".to_owned(),
            ),
            (r#"[{"require":{"table":"t","key":"k"}}]"#, "line 1: expected one condition: \"exists\": true".to_owned()),
            (r#"[{"require":{"table":"t","key":"k","exists":false}}]"#, "line 1: expected one condition".to_owned()),
            (r#"[{"fence":{"table":"t","token":-1}}]"#, "line 1: expected a token".to_owned()),
        ];
        for (script, start) in wrong {
            let error = shown(script).unwrap_err();
            assert!(error.starts_with(&start), "{script}: {error}");
        }
    }
}
