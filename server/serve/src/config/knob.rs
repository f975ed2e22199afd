//! What can be a knob, and the macro that makes a struct of knobs.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::error::show;

/// A type of values that an operator can set.
pub(super) trait Knob: Sized + PartialEq {
    /// What a value must be, in words that follow "expected".
    fn expected() -> String;
    /// The value of a text, as in an environment variable.
    fn from_text(text: &str) -> Option<Self>;
    /// The value of a TOML value.
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }
    /// The value in TOML.
    fn to_toml(&self) -> String;
}

/// A value that is not what a knob takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) expected: String,
    pub(super) found: String,
}

/// Where a value is taken from.
pub(super) enum Given<'a> {
    /// A text.
    Text(&'a str),
    /// A value of a TOML file.
    Toml(&'a DeValue<'a>),
}

impl Given<'_> {
    pub(super) fn read<T: Knob>(&self) -> Result<T, Wrong> {
        let read = match self {
            Self::Text(text) => T::from_text(text),
            Self::Toml(value) => T::from_toml(value),
        };
        read.ok_or_else(|| Wrong { expected: T::expected(), found: self.show() })
    }

    fn show(&self) -> String {
        match self {
            Self::Text(text) => show(text),
            Self::Toml(DeValue::String(text)) => show(text),
            Self::Toml(DeValue::Integer(number)) => number.to_string(),
            Self::Toml(DeValue::Boolean(value)) => value.to_string(),
            Self::Toml(value) => format!("a {}", value.type_str()),
        }
    }
}

/// A knob as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) value: String,
}

/// A struct of knobs.
pub(super) trait Section {
    /// The knobs with their values, in the order of the struct.
    fn knobs(&self) -> Vec<Shown>;
    /// Sets the knob `name`. `None`: there is none of that name.
    fn set(&mut self, name: &str, given: &Given<'_>) -> Option<Result<(), Wrong>>;
}

/// Makes a struct of knobs from its fields, with their docs and defaults; the docs are the comments in TOML, too.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ pub $field:ident: $type:ty = $default:expr,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::config::knob::Section for $name {
            fn knobs(&self) -> Vec<$crate::config::knob::Shown> {
                use $crate::config::knob::{Knob, Shown};
                vec![$(Shown { name: stringify!($field), doc: &[$($doc),+], value: self.$field.to_toml() },)+]
            }

            fn set(
                &mut self,
                name: &str,
                given: &$crate::config::knob::Given<'_>,
            ) -> Option<Result<(), $crate::config::knob::Wrong>> {
                match name {
                    $(stringify!($field) => Some(given.read().map(|value| self.$field = value)),)+
                    _ => None,
                }
            }
        }
    };
}

pub(super) use section;

macro_rules! number {
    ($($type:ty),+) => {
        $(impl Knob for $type {
            fn expected() -> String {
                format!("a whole number from 0 to {}", group(&<$type>::MAX.to_string()))
            }

            fn from_text(text: &str) -> Option<Self> {
                let digits = text.trim().replace('_', "");
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
            }

            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                let number = value.as_integer()?;
                Self::from_str_radix(number.as_str(), number.radix()).ok()
            }

            fn to_toml(&self) -> String {
                group(&self.to_string())
            }
        })+
    };
}

number!(u16, u32, u64, usize);

/// Digits in groups of three, from five digits on.
fn group(digits: &str) -> String {
    if digits.len() < 5 {
        return digits.to_owned();
    }
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

impl Knob for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// A rate, or no limit, which is written as 0.
impl Knob for Option<u64> {
    fn expected() -> String {
        format!("{}, 0 for no limit", u64::expected())
    }

    fn from_text(text: &str) -> Option<Self> {
        u64::from_text(text).map(|rate| (rate > 0).then_some(rate))
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).map(|rate| (rate > 0).then_some(rate))
    }

    fn to_toml(&self) -> String {
        self.unwrap_or(0).to_toml()
    }
}

impl Knob for SocketAddr {
    fn expected() -> String {
        "an IP address and a port, as in \"127.0.0.1:7420\"".to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Knob for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| text.into())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// A host and a port, as others reach it. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort(String);

impl HostPort {
    /// The address in `text`: `host:port`, with or without `http://` before it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = text.rsplit_once(':')?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
        };
        let port_is_good = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
        (good && port_is_good).then(|| Self(text.to_owned()))
    }

    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

/// An address, or none, which is written as an empty text.
impl Knob for Option<HostPort> {
    fn expected() -> String {
        "a host and a port, as in \"node-1.example:7420\", or nothing".to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        if text.trim().is_empty() { Some(None) } else { HostPort::parse(text).map(Some) }
    }

    fn to_toml(&self) -> String {
        quoted(self.as_ref().map_or("", HostPort::as_str))
    }
}

/// Addresses; in a text, with commas between them.
impl Knob for Vec<HostPort> {
    fn expected() -> String {
        "a list of addresses, as in [\"node-1.example:7420\", \"10.0.0.2:7420\"]".to_owned()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.split(',').filter(|part| !part.trim().is_empty()).map(HostPort::parse).collect()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|item| item.get_ref().as_str().and_then(HostPort::parse)).collect()
    }

    fn to_toml(&self) -> String {
        let items: Vec<_> = self.iter().map(|address| quoted(address.as_str())).collect();
        format!("[{}]", items.join(", "))
    }
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_read_back() {
        for (number, shown) in [(0, "0"), (600, "600"), (9_999, "9999"), (10_000, "10_000"), (1 << 20, "1_048_576")] {
            assert_eq!(u64::to_toml(&number), shown);
            assert_eq!(u64::from_text(shown), Some(number));
        }
        for text in ["", "-1", "+1", "1.5", "1e3", "64MiB", "0x10", "99999999999999999999999"] {
            assert_eq!(u64::from_text(text), None, "{text}");
        }
        assert_eq!(u16::from_text("65536"), None);
        assert_eq!(u16::expected(), "a whole number from 0 to 65_535");
    }

    #[test]
    fn addresses_are_hosts_with_ports() {
        for text in ["a:1", "node-1.example:7420", "10.0.0.1:65535", "[::1]:80", "http://a_b:1", "http://a:1/", " a:1 "]
        {
            let address = HostPort::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(HostPort::parse(&address.url()), Some(address));
        }
        for text in
            ["", "a", ":1", "a:", "a:65536", "a:+1", "::1:80", "[::g]:1", "a b:1", "https://a:1", "a:1/path", "a\n:1"]
        {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("C:\\data \"new\""), "\"C:\\\\data \\\"new\\\"\"");
        let text = "a\n\t'\"\\\u{7f}\u{85}\u{0}\u{10ffff}é";
        let line = format!("x = {}", quoted(text));
        let table = toml::de::DeTable::parse(&line).unwrap();
        assert_eq!(table.get_ref()["x"].get_ref().as_str(), Some(text));
    }
}
