//! Records from and to CSV.
//!
//! With a recipe the columns are the user's. Without one they are those that `dump` writes: `key` and `value` with
//! escapes, and `expires_unix_ms`; others are left alone.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};
use lentic_client::Row;

use super::recipe::{Recipe, ValueRecipe};
use super::record::{RECORD_BYTES_MAX, Record, RecordError};
use super::template::Template;
use crate::text::{Strict, Syntax};

/// The heading of a dump.
const DUMPED: [&str; 4] = ["key", "value", "version", "expires_unix_ms"];

/// The records of a CSV file.
pub(super) struct CsvRecords {
    reader: Reader<Bounded<Box<dyn Read + Send>>>,
    /// Bytes read since the last record: what the record that is being read may take.
    read_bytes: Arc<AtomicUsize>,
    heading: Heading,
    recipe: Recipe,
    record: ByteRecord,
}

/// The names of the columns.
struct Heading {
    names: StringRecord,
    /// Each name as the beginning of a member of a JSON object.
    members: Vec<String>,
}

impl Heading {
    fn new(names: StringRecord) -> Result<Self, RecordError> {
        for (place, name) in names.iter().enumerate() {
            if names.iter().take(place).any(|other| other == name) {
                return Err(RecordError::new(1, format!("the heading names column {name:?} twice")));
            }
        }
        let quoted = |name| serde_json::to_string(name).expect("a string is JSON");
        let members = names.iter().map(|name| quoted(name) + ":").collect();
        Ok(Self { names, members })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| column == name)
    }

    fn require(&self, name: &str) -> Result<(), RecordError> {
        if self.place(name).is_some() {
            return Ok(());
        }
        let names: Vec<&str> = self.names.iter().take(30).collect();
        Err(RecordError::new(1, format!("the heading has no column {name:?}; it has: {}", names.join(", "))))
    }
}

impl CsvRecords {
    /// Reads the heading.
    ///
    /// # Errors
    /// There is none, or it lacks a column of the recipe.
    pub(super) fn new(input: Box<dyn Read + Send>, delimiter: u8, recipe: Recipe) -> Result<Self, RecordError> {
        let read_bytes = Arc::new(AtomicUsize::new(0));
        let input = Bounded { input, read_bytes: read_bytes.clone() };
        let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(input);
        let names = reader.headers().map_err(|error| refused(1, &error))?.clone();
        if names.is_empty() {
            return Err(RecordError::new(1, "the file is empty; expected a heading with the names of the columns"));
        }
        let heading = Heading::new(names)?;
        match &recipe {
            Recipe::Dumped => {
                let expected = "; name the columns of the key with --key, unless the file was written by `lentic dump`";
                let missing = ["key", "value"].into_iter().find(|name| heading.place(name).is_none());
                if let Some(name) = missing {
                    return Err(RecordError::new(1, format!("the heading has no column {name:?}{expected}")));
                }
            }
            Recipe::Made { key, value } => {
                key.columns().try_for_each(|name| heading.require(name))?;
                if let ValueRecipe::Column(name) = value {
                    heading.require(name)?;
                }
            }
        }
        Ok(Self { reader, read_bytes, heading, recipe, record: ByteRecord::new() })
    }

    /// The next record, `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Record>, RecordError> {
        if !self.skip()? {
            return Ok(None);
        }
        let line = line_of(&self.record);
        self.make(line).map(Some).map_err(|message| RecordError::new(line, message))
    }

    /// Reads a row and makes nothing of it. Whether there was one.
    pub(super) fn skip(&mut self) -> Result<bool, RecordError> {
        self.read_bytes.store(0, Ordering::Relaxed);
        let line = self.reader.position().line();
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| refused(line, &error))? {
            return Ok(false);
        }
        let (expected, found) = (self.heading.names.len(), self.record.len());
        if expected != found {
            let message = format!("expected {expected} fields, as in the heading, found {found}");
            return Err(RecordError::new(line_of(&self.record), message));
        }
        Ok(true)
    }

    fn make(&self, line: u64) -> Result<Record, String> {
        let (key, value, expires_unix_ms) = match &self.recipe {
            Recipe::Dumped => {
                let end = self.heading.place("expires_unix_ms").map(|_| self.text("expires_unix_ms")).transpose()?;
                (self.unescaped("key")?, self.unescaped("value")?.into(), end_of(end.unwrap_or_default())?)
            }
            Recipe::Made { key, value } => (self.key(key)?, self.value(value)?, None),
        };
        Ok(Record { line, key: key.into(), value, expires_unix_ms })
    }

    fn key(&self, template: &Template) -> Result<Vec<u8>, String> {
        template.key(|name| self.text(name))
    }

    fn value(&self, recipe: &ValueRecipe) -> Result<Bytes, String> {
        match recipe {
            ValueRecipe::Column(name) => Ok(Bytes::copy_from_slice(self.field(name)?)),
            ValueRecipe::Row => {
                let mut object = Vec::with_capacity(self.record.len() * 16 + self.record.as_slice().len());
                for ((member, name), field) in self.heading.members.iter().zip(&self.heading.names).zip(&self.record) {
                    object.push(if object.is_empty() { b'{' } else { b',' });
                    object.extend_from_slice(member.as_bytes());
                    serde_json::to_writer(&mut object, text(name, field)?).map_err(|error| error.to_string())?;
                }
                object.push(b'}');
                Ok(object.into())
            }
        }
    }

    fn field(&self, name: &str) -> Result<&[u8], String> {
        let place = self.heading.place(name);
        place.and_then(|place| self.record.get(place)).ok_or_else(|| format!("there is no column {name:?}"))
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        text(name, self.field(name)?)
    }

    fn unescaped(&self, name: &str) -> Result<Vec<u8>, String> {
        Syntax::Escaped.parse(self.text(name)?).map_err(|error| format!("column {name:?}: {error}"))
    }
}

fn text<'a>(name: &str, field: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(field).map_err(|_| format!("column {name:?} is not UTF-8"))
}

fn line_of(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

fn end_of(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| format!("column \"expires_unix_ms\": expected milliseconds since 1970 or nothing, found {text:?}");
    text.parse().map(Some).map_err(wrong)
}

fn refused(line: u64, error: &csv::Error) -> RecordError {
    match error.kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => RecordError::too_large(line),
        csv::ErrorKind::Io(error) => RecordError::new(line, format!("the file cannot be read further: {error}")),
        csv::ErrorKind::Utf8 { .. } => RecordError::new(line, "the heading is not UTF-8"),
        _ => RecordError::new(line, error.to_string()),
    }
}

/// Refuses to read more than one record may have.
struct Bounded<R> {
    input: R,
    read_bytes: Arc<AtomicUsize>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read_bytes.load(Ordering::Relaxed) > RECORD_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.input.read(buffer)?;
        self.read_bytes.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}

/// Writes the heading of a dump.
pub(super) fn write_heading(out: &mut Vec<u8>) {
    out.extend_from_slice(DUMPED.join(",").as_bytes());
    out.push(b'\n');
}

/// Writes a row of a dump.
pub(super) fn write_row(out: &mut Vec<u8>, row: &Row) {
    let end = row.expires_unix_ms.map(|ms| ms.to_string()).unwrap_or_default();
    let version = row.version.0.to_string();
    let (key, value) = (Strict(&row.key).to_string(), Strict(&row.value).to_string());
    for (place, field) in [key, value, version, end].iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_field(out, field);
    }
    out.push(b'\n');
}

/// Writes a field, in quotes where it has to be. Line ends in it are escaped already.
fn write_field(out: &mut Vec<u8>, field: &str) {
    if field.contains(['"', ',']) {
        out.push(b'"');
        out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(field.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], recipe: Recipe) -> Result<Vec<Record>, String> {
        let input = Box::new(io::Cursor::new(text.to_vec()));
        let mut records = CsvRecords::new(input, b',', recipe).map_err(|error| error.to_string())?;
        std::iter::from_fn(|| records.next().map_err(|error| error.to_string()).transpose()).collect()
    }

    fn made(key: &str, value: Option<&str>) -> Recipe {
        let value = value.map_or(ValueRecipe::Row, |column| ValueRecipe::Column(column.to_owned()));
        Recipe::Made { key: key.parse().unwrap(), value }
    }

    #[test]
    fn rows_become_objects_or_one_column() {
        let file = "\u{feff}day,of \"x\",note\n1,a,\"two\nlines, \"\"quoted\"\"\"\n2,é,\r\n".as_bytes();
        let rows = read(file, made("{day:02}", None)).unwrap();
        assert_eq!(rows.iter().map(|row| &row.key[..]).collect::<Vec<_>>(), [b"01", b"02"]);
        assert_eq!(rows[0].value, r#"{"day":"1","of \"x\"":"a","note":"two\nlines, \"quoted\""}"#);
        assert_eq!(rows[1].value, r#"{"day":"2","of \"x\"":"é","note":""}"#);
        assert_eq!([rows[0].line, rows[1].line], [2, 4]);
        assert_eq!(read(file, made("{day}", Some("note"))).unwrap()[0].value, "two\nlines, \"quoted\"");
    }

    #[test]
    fn a_heading_must_have_what_the_recipe_asks_for() {
        let refused = |file: &[u8], recipe| read(file, recipe).unwrap_err();
        let missing = refused(b"a,b\n1,2\n", made("{c}", None));
        assert_eq!(missing, "line 1: the heading has no column \"c\"; it has: a, b");
        assert!(refused(b"a,b\n", made("{a}", Some("c"))).starts_with("line 1: the heading has no column \"c\""));
        assert!(refused(b"key,b\n", Recipe::Dumped).contains("no column \"value\"; name the columns of the key"));
        assert!(refused(b"a,b,a\n", made("{a}", None)).contains("names column \"a\" twice"));
        assert!(refused(b"", made("{a}", None)).contains("the file is empty"));
        assert!(refused(b"\xff,a\n", made("{a}", None)).contains("the heading is not UTF-8"));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told_with_its_line() {
        let refused = |file: &[u8], recipe| read(file, recipe).unwrap_err();
        assert_eq!(
            refused(b"a,b\n1,2\n3\n", made("{a}", None)),
            "line 3: expected 2 fields, as in the heading, found 1"
        );
        assert_eq!(refused(b"a,b\n1,\xff\n", made("{a}", None)), "line 2: column \"b\" is not UTF-8");
        assert_eq!(refused(b"a,b\n\"1\n\",2\n,3\n", made("{a}", None)), "line 4: the key is empty");
        assert!(refused(b"key,value\na,\\q\n", Recipe::Dumped).starts_with("line 2: column \"value\": expected \\xNN"));
        let end = refused(b"key,value,expires_unix_ms\na,b,-1\n", Recipe::Dumped);
        assert!(end.starts_with("line 2: column \"expires_unix_ms\": expected milliseconds"), "{end}");
        assert_eq!(
            read(b"a,b\n1,\xff\n", made("{a}", Some("b"))).unwrap()[0].value,
            &b"\xff"[..],
            "one column is bytes"
        );
    }

    #[test]
    fn a_quote_left_open_does_not_take_all_memory() {
        let endless = io::Cursor::new(b"a,b\n1,\"").chain(io::repeat(b'x'));
        let mut records = CsvRecords::new(Box::new(endless), b',', made("{a}", None)).unwrap();
        assert_eq!(records.next(), Err(RecordError::too_large(2)));
        let endless = Box::new(io::repeat(b'x'));
        let error = CsvRecords::new(endless, b',', made("{a}", None)).err().unwrap();
        assert_eq!(error, RecordError::too_large(1));
    }
}
