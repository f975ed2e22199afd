//! Pieces of JSON that several answers have.

use lentic_client::Version;
use serde::ser::SerializeMap;

use crate::text::Hex;

/// A version in JSON: its number as a string, for a reader that takes numbers as floats would round it.
pub(crate) fn version_text(version: Version) -> String {
    version.0.to_string()
}

/// Writes bytes as a member of an object: `name` with text if they are UTF-8, else `name_hex` with digits.
pub(crate) fn bytes_member<M: SerializeMap>(map: &mut M, name: &str, bytes: &[u8]) -> Result<(), M::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry(name, text),
        Err(_) => map.serialize_entry(&format!("{name}_hex"), &Hex(bytes).to_string()),
    }
}
