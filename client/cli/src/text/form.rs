//! Forms: as what a value is shown.

use std::fmt;

use clap::ValueEnum;
use lentic_client::decode_set;
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::bytes::{Hex, Shown, Strict};

/// As what values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// UTF-8
    Text,
    /// Two digits a byte
    Hex,
    /// An integer of 8 bytes, as add-i64 keeps it
    I64,
    /// A float of 8 bytes, as add-f64 keeps it
    F64,
    /// JSON, on one line
    Json,
    /// A set, as set-union keeps it
    Set,
}

/// A value that is not of the form asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {bytes} bytes that are none; show it with --as hex")]
pub(crate) struct NotOfForm {
    expected: &'static str,
    bytes: usize,
}

/// A value read in a form.
#[derive(Clone, Debug)]
pub(crate) enum Formed<'a> {
    Text(&'a str),
    Hex(&'a [u8]),
    I64(i64),
    F64(f64),
    Json(Box<RawValue>),
    Set(Vec<&'a [u8]>),
}

impl Form {
    /// Reads `bytes` in this form.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Formed<'_>, NotOfForm> {
        let eight = || <[u8; 8]>::try_from(bytes).ok();
        let (formed, expected) = match self {
            Self::Text => (std::str::from_utf8(bytes).ok().map(Formed::Text), "UTF-8"),
            Self::Hex => (Some(Formed::Hex(bytes)), "bytes"),
            Self::I64 => (eight().map(|bytes| Formed::I64(i64::from_be_bytes(bytes))), "an integer of 8 bytes"),
            Self::F64 => (eight().map(|bytes| Formed::F64(f64::from_be_bytes(bytes))), "a float of 8 bytes"),
            Self::Json => (on_one_line(bytes).map(Formed::Json), "JSON"),
            Self::Set => (decode_set(bytes).map(Formed::Set), "a set"),
        };
        formed.ok_or(NotOfForm { expected, bytes: bytes.len() })
    }
}

/// The JSON value without the blanks between its words, and with its numbers as they are.
fn on_one_line(bytes: &[u8]) -> Option<Box<RawValue>> {
    let found: &RawValue = serde_json::from_slice(bytes).ok()?;
    let (mut line, mut in_string, mut is_escaped) = (String::with_capacity(bytes.len()), false, false);
    for character in found.get().chars() {
        if in_string || !matches!(character, ' ' | '\t' | '\n' | '\r') {
            line.push(character);
        }
        if character == '"' && !is_escaped {
            in_string = !in_string;
        }
        is_escaped = in_string && character == '\\' && !is_escaped;
    }
    RawValue::from_string(line).ok()
}

/// For people and, but for text, for scripts.
impl fmt::Display for Formed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => Shown(text.as_bytes()).fmt(f),
            Self::Hex(bytes) => Hex(bytes).fmt(f),
            Self::I64(number) => number.fmt(f),
            Self::F64(number) => number.fmt(f),
            Self::Json(value) => Shown(value.get().as_bytes()).fmt(f),
            Self::Set(members) => {
                f.write_str("{")?;
                for (place, member) in members.iter().enumerate() {
                    let between = if place == 0 { "" } else { ", " };
                    write!(f, "{between}{}", Strict(member))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// As a JSON value. A float that JSON cannot hold is a string; members of a set are written in the escaped syntax.
impl Serialize for Formed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Hex(bytes) => serializer.collect_str(&Hex(bytes)),
            Self::I64(number) => serializer.serialize_i64(*number),
            Self::F64(number) if number.is_finite() => serializer.serialize_f64(*number),
            Self::F64(number) => serializer.collect_str(number),
            Self::Json(value) => value.serialize(serializer),
            Self::Set(members) => serializer.collect_seq(members.iter().map(|member| Strict(member).to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(form: Form, bytes: &[u8]) -> (String, String) {
        let formed = form.read(bytes).unwrap();
        (formed.to_string(), serde_json::to_string(&formed).unwrap())
    }

    #[test]
    fn values_are_shown_in_each_form() {
        assert_eq!(shown(Form::Text, b"a\"b"), ("a\"b".to_owned(), "\"a\\\"b\"".to_owned()));
        assert_eq!(shown(Form::Hex, b"\x00\xff"), ("00ff".to_owned(), "\"00ff\"".to_owned()));
        assert_eq!(shown(Form::I64, &(-7i64).to_be_bytes()), ("-7".to_owned(), "-7".to_owned()));
        assert_eq!(shown(Form::F64, &0.5f64.to_be_bytes()), ("0.5".to_owned(), "0.5".to_owned()));
        assert_eq!(shown(Form::F64, &f64::NAN.to_be_bytes()), ("NaN".to_owned(), "\"NaN\"".to_owned()));
        assert_eq!(shown(Form::Set, b"\x01a\x02b\x00"), ("{a, b\\x00}".to_owned(), "[\"a\",\"b\\\\x00\"]".to_owned()));
        let json = b" {\"a b\":\n 12345678901234567890.10,\t\"\\\" \\\\\" : [ ] } ";
        let line = r#"{"a b":12345678901234567890.10,"\" \\":[]}"#;
        assert_eq!(shown(Form::Json, json), (line.to_owned(), line.to_owned()));
    }

    #[test]
    fn what_is_of_another_form_is_refused() {
        let wrong: [(Form, &[u8]); 5] =
            [(Form::Text, b"\xff"), (Form::I64, b"1"), (Form::F64, b""), (Form::Json, b"{"), (Form::Set, b"\x05")];
        for (form, bytes) in wrong {
            assert!(form.read(bytes).is_err(), "{form:?}");
        }
        let message = Form::I64.read(b"12").unwrap_err().to_string();
        assert_eq!(message, "expected an integer of 8 bytes, found 2 bytes that are none; show it with --as hex");
    }

    proptest! {
        #[test]
        fn any_value_is_shown_or_refused(bytes: Vec<u8>) {
            for form in Form::value_variants() {
                if let Ok(formed) = form.read(&bytes) {
                    prop_assert!(!formed.to_string().contains('\n'));
                    prop_assert!(!serde_json::to_string(&formed).unwrap().contains('\n'));
                }
            }
        }
    }
}
