//! Bytes as text: how keys and values are written on the command line, and how they are shown.
//!
//! | syntax | `a\x00é` as bytes | written |
//! |---|---|---|
//! | text | 61 5c 78 30 30 c3 a9 | as it is: no character is special |
//! | hex | 61 00 c3 a9 | `6100c3a9`, `0x6100C3A9`; blanks between bytes are skipped |
//! | escaped | 61 00 c3 a9 | `\xNN`, `\n`, `\r`, `\t`, `\0`, `\\`; all else as it is |

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// UTF-8, as it is.
    #[default]
    Text,
    /// Two digits a byte.
    Hex,
    /// Text with escapes.
    Escaped,
}

/// Text that is no bytes in the syntax asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SyntaxError {
    /// A character that is no digit.
    #[error("expected hex digits, found {found:?} at character {at}")]
    NoDigit {
        /// What was found.
        found: char,
        /// Where, from 1.
        at: usize,
    },
    /// An odd number of digits.
    #[error("expected two hex digits for each byte, found {digits} in all")]
    OddDigits {
        /// How many digits there are.
        digits: usize,
    },
    /// A backslash with something else after it.
    #[error("expected \\xNN, \\n, \\r, \\t, \\0 or \\\\, found {found:?} at character {at}; write a backslash as \\\\")]
    NoEscape {
        /// What was found.
        found: String,
        /// Where the backslash stands, from 1.
        at: usize,
    },
}

impl Syntax {
    /// The bytes that `text` writes.
    pub(crate) fn parse(self, text: &str) -> Result<Vec<u8>, SyntaxError> {
        match self {
            Self::Text => Ok(text.as_bytes().to_vec()),
            Self::Hex => parse_hex(text),
            Self::Escaped => parse_escaped(text),
        }
    }
}

/// The bytes of two members of a JSON object, of which one may be there: `name` with text, or `name_hex` with digits.
pub(crate) fn of_members(
    name: &str,
    text: Option<Cow<'_, str>>,
    hex: Option<Cow<'_, str>>,
) -> Result<Option<Vec<u8>>, String> {
    match (text, hex) {
        (Some(_), Some(_)) => Err(format!("there are both {name:?} and \"{name}_hex\"; expected one of them")),
        (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
        (None, Some(hex)) => {
            Syntax::Hex.parse(&hex).map(Some).map_err(|error| format!("member \"{name}_hex\": {error}"))
        }
        (None, None) => Ok(None),
    }
}

fn parse_hex(text: &str) -> Result<Vec<u8>, SyntaxError> {
    let prefix = if text.starts_with("0x") || text.starts_with("0X") { 2 } else { 0 };
    let mut digits = Vec::with_capacity(text.len());
    for (place, found) in text.chars().enumerate().skip(prefix).filter(|(_, found)| !found.is_whitespace()) {
        digits.push(digit(found).ok_or(SyntaxError::NoDigit { found, at: place + 1 })?);
    }
    if !digits.len().is_multiple_of(2) {
        return Err(SyntaxError::OddDigits { digits: digits.len() });
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn digit(character: char) -> Option<u8> {
    character.to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn parse_escaped(text: &str) -> Result<Vec<u8>, SyntaxError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.chars().next() {
        if found != '\\' {
            bytes.extend_from_slice(&rest.as_bytes()[..found.len_utf8()]);
            rest = &rest[found.len_utf8()..];
            continue;
        }
        let Some((byte, length)) = escape(rest) else {
            let at = text[..text.len() - rest.len()].chars().count() + 1;
            return Err(SyntaxError::NoEscape { found: rest.chars().take(4).collect(), at });
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    Ok(bytes)
}

/// The byte of the escape that `text` begins with, and how many bytes of text it takes.
fn escape(text: &str) -> Option<(u8, usize)> {
    let mut characters = text.chars().skip(1);
    let byte = match characters.next()? {
        '\\' => b'\\',
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '0' => 0,
        'x' => {
            let (high, low) = (digit(characters.next()?)?, digit(characters.next()?)?);
            return Some((high << 4 | low, 4));
        }
        _ => return None,
    };
    Some((byte, 2))
}

/// Bytes in the escaped syntax: printable UTF-8 as it is, all else in escapes. [`Syntax::Escaped`] reads it back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strict<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Strict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                write_character(f, character)?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn write_character(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        _ if is_printable(character) => f.write_char(character),
        _ => {
            let mut buffer = [0; 4];
            character.encode_utf8(&mut buffer).bytes().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
        }
    }
}

/// Whether a terminal shows the character as itself: no control, no mark that changes what stands beside it.
fn is_printable(character: char) -> bool {
    matches!(character, '\'' | '"' | '\\') || character.escape_debug().len() == 1
}

/// Bytes for people: printable UTF-8 as it is, backslashes too; anything else as [`Strict`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().all(is_printable) => f.write_str(text),
            _ => Strict(self.0).fmt(f),
        }
    }
}

/// Bytes for people who look at nothing else: as [`Shown`], but with line ends and tabs as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prose<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().all(|it| is_printable(it) || matches!(it, '\n' | '\t')) => f.write_str(text),
            _ => Strict(self.0).fmt(f),
        }
    }
}

/// Bytes as hex digits, without a prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_syntax_reads_its_own() {
        assert_eq!(Syntax::Text.parse("a\\x00").unwrap(), b"a\\x00");
        assert_eq!(Syntax::Hex.parse("0x6100C3 a9").unwrap(), b"a\0\xc3\xa9");
        assert_eq!(Syntax::Hex.parse("").unwrap(), b"");
        assert_eq!(Syntax::Escaped.parse("a\\x00é\\n\\r\\t\\0\\\\").unwrap(), "a\0é\n\r\t\0\\".as_bytes());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let message = |syntax: Syntax, text| syntax.parse(text).unwrap_err().to_string();
        assert_eq!(message(Syntax::Hex, "0x6g"), "expected hex digits, found 'g' at character 4");
        assert_eq!(message(Syntax::Hex, "abc"), "expected two hex digits for each byte, found 3 in all");
        for (text, found, at) in [("ä\\q1", "\\q1", 2), ("\\", "\\", 1), ("\\x0", "\\x0", 1), ("\\xé0", "\\xé0", 1)]
        {
            let found = found.to_owned();
            assert_eq!(Syntax::Escaped.parse(text), Err(SyntaxError::NoEscape { found, at }), "{text}");
        }
    }

    #[test]
    fn what_is_shown_cannot_steer_a_terminal() {
        assert_eq!(Strict(b"\x1b[31mred").to_string(), "\\x1b[31mred");
        assert_eq!(Strict("a\u{202e}b\u{200b}".as_bytes()).to_string(), "a\\xe2\\x80\\xaeb\\xe2\\x80\\x8b");
        assert_eq!(Shown(br#"{"a":"\n"}"#).to_string(), r#"{"a":"\n"}"#);
        assert_eq!(Strict(br#"{"a":"\n"}"#).to_string(), r#"{"a":"\\n"}"#);
        assert_eq!(Shown(b"\\\xff").to_string(), "\\\\\\xff");
        assert_eq!(Prose(b"a\\\n\tb").to_string(), "a\\\n\tb");
        assert_eq!(Prose(b"a\n\x1b").to_string(), "a\\n\\x1b");
        assert_eq!(Shown("it's \"é\"".as_bytes()).to_string(), "it's \"é\"");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: Vec<u8>) {
            let escaped = Strict(&bytes).to_string();
            prop_assert_eq!(Syntax::Escaped.parse(&escaped).unwrap(), &bytes[..]);
            prop_assert!(escaped.chars().all(is_printable));
            prop_assert_eq!(Syntax::Hex.parse(&Hex(&bytes).to_string()).unwrap(), bytes);
        }

        #[test]
        fn text_is_shown_without_controls(text: String) {
            prop_assert_eq!(Syntax::Escaped.parse(&Strict(text.as_bytes()).to_string()).unwrap(), text.as_bytes());
            prop_assert!(Shown(text.as_bytes()).to_string().chars().all(is_printable));
        }

        #[test]
        fn any_text_is_bytes_or_refused(text: String) {
            for syntax in [Syntax::Hex, Syntax::Escaped] {
                let _ = syntax.parse(&text);
            }
        }
    }
}
