//! Records from and to JSON lines.
//!
//! With a recipe each line is an object of the user's. Without one it is what `dump` writes: `key` or `key_hex`, `value`
//! or `value_hex`, and `expires`; other members are left alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use jiff::Timestamp;
use lentic_client::Row;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::recipe::{Recipe, ValueRecipe};
use super::record::{RECORD_BYTES_MAX, Record, RecordError};
use crate::output::{bytes_member, version_text};
use crate::text::{bytes_of_members, rfc3339};

/// The records of a file of JSON lines.
pub(super) struct JsonlRecords {
    input: BufReader<Box<dyn Read + Send>>,
    recipe: Recipe,
    line: u64,
    text: Vec<u8>,
}

impl JsonlRecords {
    pub(super) fn new(input: Box<dyn Read + Send>, recipe: Recipe) -> Self {
        Self { input: BufReader::with_capacity(64 << 10, input), recipe, line: 0, text: Vec::new() }
    }

    /// The next record, `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RecordError> {
        if !self.skip()? {
            return Ok(None);
        }
        self.make().map(Some).map_err(|message| RecordError::new(self.line, message))
    }

    /// Reads the next line that is not blank. Whether there was one.
    pub(super) fn skip(&mut self) -> Result<bool, RecordError> {
        loop {
            self.text.clear();
            self.line += 1;
            let limit = RECORD_BYTES_MAX as u64 + 1;
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.text);
            let count =
                read.map_err(|error| RecordError::new(self.line, format!("the file cannot be read further: {error}")))?;
            if count == 0 {
                return Ok(false);
            }
            if self.text.len() > RECORD_BYTES_MAX {
                return Err(RecordError::new(self.line, format!("the line has more than {RECORD_BYTES_MAX} bytes")));
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn make(&self) -> Result<Record, String> {
        let text = std::str::from_utf8(self.text.trim_ascii()).map_err(|_| "the line is not UTF-8".to_owned())?;
        match &self.recipe {
            Recipe::Dumped => dumped(self.line, text),
            Recipe::Made { key, value } => {
                let members: Members<'_> =
                    serde_json::from_str(text).map_err(|error| format!("expected a JSON object, found {error}"))?;
                let key = key.key(|name| members.text(name))?;
                let value = match value {
                    ValueRecipe::Row => Bytes::copy_from_slice(text.as_bytes()),
                    ValueRecipe::Column(name) => Bytes::copy_from_slice(members.text(name)?.as_bytes()),
                };
                Ok(Record { line: self.line, key: key.into(), value, expires_unix_ms: None })
            }
        }
    }
}

/// The members of an object, each as it was written.
#[derive(Deserialize)]
#[serde(transparent)]
struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// A member as text: a string without its quotes; a number, true or false as it is written.
    fn text(&self, name: &str) -> Result<Cow<'a, str>, String> {
        let found = self.0.get(name).ok_or_else(|| format!("there is no member {name:?}"))?.get();
        match found.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Text<'a>>(found).map(|text| text.0).map_err(|error| error.to_string()),
            Some(b'n' | b'[' | b'{') | None => Err(format!("expected a string or a number in member {name:?}")),
            Some(_) => Ok(Cow::Borrowed(found)),
        }
    }
}

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A line as `dump` writes it.
#[derive(Deserialize)]
struct Dumped<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_hex: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value_hex: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expires: Option<Cow<'a, str>>,
}

fn dumped(line: u64, text: &str) -> Result<Record, String> {
    let Dumped { key, key_hex, value, value_hex, expires } = serde_json::from_str(text)
        .map_err(|error| format!("expected a line as `lentic dump` writes it, found {error}"))?;
    let missing = "; name the members of the key with --key, unless the file was written by `lentic dump`";
    let key = bytes_of_members("key", key, key_hex)?
        .ok_or_else(|| format!("there is neither \"key\" nor \"key_hex\"{missing}"))?;
    let value = bytes_of_members("value", value, value_hex)?.ok_or("there is neither \"value\" nor \"value_hex\"")?;
    let expires_unix_ms = expires.map(|time| end_of(&time)).transpose()?;
    Ok(Record { line, key: key.into(), value: value.into(), expires_unix_ms })
}

fn end_of(time: &str) -> Result<u64, String> {
    let parsed = time.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    parsed.ok_or_else(|| format!("member \"expires\": expected a time such as 2026-05-01T10:03:00Z, found {time:?}"))
}

/// Writes a row of a dump.
pub(super) fn write_row(out: &mut Vec<u8>, row: &Row) {
    serde_json::to_writer(&mut *out, &DumpedRow(row)).expect("memory takes what is written, and names are strings");
    out.push(b'\n');
}

struct DumpedRow<'a>(&'a Row);

impl Serialize for DumpedRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row { key, value, version, expires_unix_ms } = self.0;
        let mut map = serializer.serialize_map(None)?;
        bytes_member(&mut map, "key", key)?;
        bytes_member(&mut map, "value", value)?;
        map.serialize_entry("version", &version_text(*version))?;
        map.serialize_entry("expires", &expires_unix_ms.map(rfc3339))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn read(text: &[u8], recipe: Recipe) -> Result<Vec<Record>, String> {
        let mut records = JsonlRecords::new(Box::new(io::Cursor::new(text.to_vec())), recipe);
        std::iter::from_fn(|| records.next().map_err(|error| error.to_string()).transpose()).collect()
    }

    fn made(key: &str, value: Option<&str>) -> Recipe {
        let value = value.map_or(ValueRecipe::Row, |column| ValueRecipe::Column(column.to_owned()));
        Recipe::Made { key: key.parse().unwrap(), value }
    }

    #[test]
    fn lines_become_values_as_they_are() {
        let file = b"{\"id\": 12345678901234567890.10, \"n\\u0061me\": \"a\\tb\"}\n\n  {\"id\":true}";
        let rows = read(file, made("{id}", None)).unwrap();
        assert_eq!((&rows[0].key[..], &rows[1].key[..]), (&b"12345678901234567890.10"[..], &b"true"[..]));
        assert_eq!(rows[0].value, r#"{"id": 12345678901234567890.10, "n\u0061me": "a\tb"}"#);
        assert_eq!([rows[0].line, rows[1].line], [1, 3]);
        assert_eq!(
            read(file.split(|byte| *byte == b'\n').next().unwrap(), made("{name}", Some("name"))).unwrap()[0].value,
            "a\tb"
        );
    }

    #[test]
    fn a_dump_is_read_with_text_or_digits() {
        let file = br#"{"found":true,"key":"a","value_hex":"00ff","version":"7","expires":"1970-01-01T00:00:01Z"}
            {"key_hex":"","value":"v","expires":null}"#;
        let rows = read(file, Recipe::Dumped).unwrap();
        assert_eq!(
            (&rows[0].key[..], &rows[0].value[..], rows[0].expires_unix_ms),
            (&b"a"[..], &b"\0\xff"[..], Some(1_000))
        );
        assert_eq!((&rows[1].key[..], &rows[1].value[..], rows[1].expires_unix_ms), (&b""[..], &b"v"[..], None));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told_with_its_number() {
        let wrong: [(&[u8], Recipe, &str); 10] = [
            (b"{}\n[]", made("{a}", None), "line 1: there is no member \"a\""),
            (b"[]", made("{a}", None), "line 1: expected a JSON object, found invalid type: sequence"),
            (b"{\"a\":1} x", made("{a}", None), "line 1: expected a JSON object, found trailing characters"),
            (b"\n{\"a\":null}", made("{a}", None), "line 2: expected a string or a number in member \"a\""),
            (b"{\"a\":\"\xff\"}", made("{a}", None), "line 1: the line is not UTF-8"),
            (b"{\"a\":\"\\ud800\"}", made("{a}", None), "line 1: "),
            (b"{\"value\":\"\"}", Recipe::Dumped, "line 1: there is neither \"key\" nor \"key_hex\"; name the members"),
            (b"{\"key\":\"\"}", Recipe::Dumped, "line 1: there is neither \"value\" nor \"value_hex\""),
            (b"{\"key\":\"\",\"key_hex\":\"\"}", Recipe::Dumped, "line 1: there are both \"key\" and \"key_hex\""),
            (b"{\"key_hex\":\"0\",\"value\":\"\"}", Recipe::Dumped, "line 1: member \"key_hex\": expected two hex"),
        ];
        for (file, recipe, start) in wrong {
            let error = read(file, recipe).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_take_all_memory() {
        let mut records = JsonlRecords::new(Box::new(io::repeat(b'x')), Recipe::Dumped);
        assert!(records.next().unwrap_err().message.starts_with("the line has more than"));
    }
}
