//! Keys and values as bytes: the same wherever the table is, and in every language. The format is in docs/formats.md.

use std::collections::BTreeSet;

use bytes::Bytes;
use lentic_engine::keys::escape;
use lentic_types::codec::{DecodeError, Reader, put_bytes};

use crate::merge::{decode_set, encode_set};

/// What a key is to its table: a hash, and bytes that sort as the key does. Borrowed forms have it, too.
pub trait KeyBytes {
    /// What Java's `hashCode()` gives: of a `Long`, `Integer`, `Boolean`, `String`; of bytes `Arrays.hashCode(byte[])`; of a
    /// pair `List.of(a, b)`.
    fn hash_code(&self) -> i32;

    /// Appends the key's bytes.
    fn put_key(&self, out: &mut Vec<u8>);
}

/// A key of a state, or a key within a map.
pub trait Key: KeyBytes + Sized {
    /// The name of its form, kept with each state that has such keys.
    fn form() -> String;

    /// The key with these bytes.
    ///
    /// # Errors
    /// No key has these bytes.
    fn from_key(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// A value of a state: bytes in one form.
pub trait Data: Sized {
    /// The name of its form, kept with each state that has such values.
    fn form() -> String;

    /// Appends the value's bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// The value with these bytes.
    ///
    /// # Errors
    /// No value has these bytes.
    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// A key in a window, or in any other numbered part: a key of its own, in the key group of `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key that decides the group.
    pub key: K,
    /// The window, as a rule by its start or end in milliseconds.
    pub window: i64,
}

impl<K: KeyBytes> KeyBytes for Windowed<K> {
    fn hash_code(&self) -> i32 {
        self.key.hash_code()
    }

    fn put_key(&self, out: &mut Vec<u8>) {
        put_pair(out, &self.key, &self.window);
    }
}

impl<K: Key> Key for Windowed<K> {
    fn form() -> String {
        format!("windowed({})", K::form())
    }

    fn from_key(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (key, window) = from_pair(bytes)?;
        Ok(Self { key, window })
    }
}

fn put_pair(out: &mut Vec<u8>, first: &impl KeyBytes, second: &impl KeyBytes) {
    put_escaped(out, first);
    second.put_key(out);
}

/// Appends a key's bytes, escaped and terminated. A key without zeros is written once and where it belongs.
pub(super) fn put_escaped(out: &mut Vec<u8>, key: &(impl KeyBytes + ?Sized)) {
    let start = out.len();
    key.put_key(out);
    if out[start..].contains(&0) {
        let bytes = out.split_off(start);
        escape::put(out, &bytes);
    } else {
        escape::put(out, &[]);
    }
}

fn from_pair<A: Key, B: Key>(bytes: &[u8]) -> Result<(A, B), DecodeError> {
    let (first, second) = escape::split(bytes)?;
    Ok((A::from_key(&escape::decode(first)?)?, B::from_key(second)?))
}

impl<A: KeyBytes, B: KeyBytes> KeyBytes for (A, B) {
    fn hash_code(&self) -> i32 {
        let first = self.0.hash_code().wrapping_add(31);
        first.wrapping_mul(31).wrapping_add(self.1.hash_code())
    }

    fn put_key(&self, out: &mut Vec<u8>) {
        put_pair(out, &self.0, &self.1);
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn form() -> String {
        format!("pair({},{})", A::form(), B::form())
    }

    fn from_key(bytes: &[u8]) -> Result<Self, DecodeError> {
        from_pair(bytes)
    }
}

impl<A: Data, B: Data> Data for (A, B) {
    fn form() -> String {
        format!("pair({},{})", A::form(), B::form())
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut first = Vec::new();
        self.0.put(&mut first);
        put_bytes(out, &first);
        self.1.put(out);
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let first = reader.bytes("first of a pair")?;
        Ok((A::from_data(first)?, B::from_data(reader.rest())?))
    }
}

/// Numbers of a fixed width: a value is two's complement, big endian; a key has its sign bit inverted, so that it sorts.
macro_rules! integer {
    ($type:ty, $name:literal, $hash:expr) => {
        impl KeyBytes for $type {
            fn hash_code(&self) -> i32 {
                let hash: fn($type) -> i32 = $hash;
                hash(*self)
            }

            fn put_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ <$type>::MIN).to_be_bytes());
            }
        }

        impl Key for $type {
            fn form() -> String {
                $name.to_owned()
            }

            fn from_key(bytes: &[u8]) -> Result<Self, DecodeError> {
                Ok(<$type>::from_data(bytes)? ^ <$type>::MIN)
            }
        }

        impl Data for $type {
            fn form() -> String {
                $name.to_owned()
            }

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
                bytes.try_into().map(<$type>::from_be_bytes).map_err(|_| DecodeError::Invalid { field: $name })
            }
        }
    };
}

integer!(i32, "i32", |key| key);
integer!(i64, "i64", |key| hash_of_long(key.cast_unsigned()));

/// `Long.hashCode`: the halves, exclusively or-ed.
fn hash_of_long(key: u64) -> i32 {
    let folded = (key ^ (key >> 32)) & u64::from(u32::MAX);
    u32::try_from(folded).expect("it was cut to 32 bits").cast_signed()
}

/// Strings of bytes, and what has them inside.
macro_rules! string {
    ($type:ty, $borrowed:ty, $name:literal, $hash:expr, $from:expr) => {
        impl KeyBytes for $borrowed {
            fn hash_code(&self) -> i32 {
                let hash: fn(&$borrowed) -> i32 = $hash;
                hash(self)
            }

            fn put_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_ref());
            }
        }

        string!(owned $type, $name, $from);
    };
    (owned $type:ty, $name:literal, $from:expr) => {
        impl KeyBytes for $type {
            fn hash_code(&self) -> i32 {
                (**self).hash_code()
            }

            fn put_key(&self, out: &mut Vec<u8>) {
                (**self).put_key(out);
            }
        }

        impl Key for $type {
            fn form() -> String {
                $name.to_owned()
            }

            fn from_key(bytes: &[u8]) -> Result<Self, DecodeError> {
                let from: fn(&[u8]) -> Result<$type, DecodeError> = $from;
                from(bytes)
            }
        }

        impl Data for $type {
            fn form() -> String {
                $name.to_owned()
            }

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_ref());
            }

            fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
                <$type as Key>::from_key(bytes)
            }
        }
    };
}

/// Java's sum of `31^i`: `Arrays.hashCode` begins with 1, `String.hashCode` with 0.
fn sum(from: i32, elements: impl Iterator<Item = i32>) -> i32 {
    elements.fold(from, |hash, element| hash.wrapping_mul(31).wrapping_add(element))
}

string!(String, str, "string", |text| sum(0, text.encode_utf16().map(i32::from)), |bytes| {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::Invalid { field: "string" })
});
string!(Vec<u8>, [u8], "bytes", |bytes| sum(1, bytes.iter().map(|byte| i32::from(byte.cast_signed()))), |bytes| {
    Ok(bytes.to_vec())
});
string!(owned Bytes, "bytes", |bytes| Ok(Bytes::copy_from_slice(bytes)));

impl KeyBytes for bool {
    fn hash_code(&self) -> i32 {
        if *self { 1_231 } else { 1_237 }
    }

    fn put_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Key for bool {
    fn form() -> String {
        "bool".to_owned()
    }

    fn from_key(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flag = reader.bool("bool")?;
        reader.finish("bool").map(|()| flag)
    }
}

impl Data for bool {
    fn form() -> String {
        <Self as Key>::form()
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.put_key(out);
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_key(bytes)
    }
}

impl Data for f64 {
    fn form() -> String {
        "f64".to_owned()
    }

    /// Every NaN becomes one, as in merges.
    fn put(&self, out: &mut Vec<u8>) {
        let bits = if self.is_nan() { 0x7ff8_0000_0000_0000 } else { self.to_bits() };
        out.extend_from_slice(&bits.to_be_bytes());
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        bytes.try_into().map(Self::from_be_bytes).map_err(|_| DecodeError::Invalid { field: "f64" })
    }
}

/// Nothing, in no bytes: a map of these is a set.
impl Data for () {
    fn form() -> String {
        "nothing".to_owned()
    }

    fn put(&self, _out: &mut Vec<u8>) {}

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::new(bytes).finish("nothing")
    }
}

/// A set, as [`MergeOperator::SetUnion`](crate::MergeOperator::SetUnion) keeps it.
impl Data for BTreeSet<Vec<u8>> {
    fn form() -> String {
        "set".to_owned()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&encode_set(self.iter().map(|member| &member[..])));
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let members = decode_set(bytes).ok_or(DecodeError::Invalid { field: "set" })?;
        Ok(members.into_iter().map(<[u8]>::to_vec).collect())
    }
}
