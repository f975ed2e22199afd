//! Primitives of the byte formats: a reader that never trusts its input, and the matching writers.
//!
//! Integers inside values are LEB128 varints (at most 10 bytes, shortest form only); byte strings carry a varint length.
//! A length is checked against what is left of the input before anything is allocated, so a decoder's memory is
//! bounded by its input. Keys have their own order-preserving encodings, beside the key kinds in `engine`.

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("input ends inside {field}")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
    },
    /// A tag that this release does not know: data of a newer release, or damage.
    #[error("unknown tag {tag:#04x} for {field}; the data was written by a newer release or is damaged")]
    UnknownTag {
        /// What the tag selects.
        field: &'static str,
        /// The tag found.
        tag: u8,
    },
    /// A value that no encoder writes.
    #[error("invalid {field}")]
    Invalid {
        /// The field that was being read.
        field: &'static str,
    },
    /// Bytes after the last field.
    #[error("{bytes} bytes left over after {field}")]
    Trailing {
        /// What had been read.
        field: &'static str,
        /// How many bytes are left.
        bytes: usize,
    },
}

/// Reads fields off the front of a byte string.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `input`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.take(1, field)?[0])
    }

    /// A flag: 0 or 1, nothing else.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { field }),
        }
    }

    /// Eight bytes, big endian.
    pub fn u64_be(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let bytes = self.take(8, field)?;
        Ok(u64::from_be_bytes(bytes.try_into().expect("took eight bytes")))
    }

    /// Four bytes, big endian.
    pub fn u32_be(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let bytes = self.take(4, field)?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("took four bytes")))
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || shift > 0 && byte == 0 {
                return Err(DecodeError::Invalid { field });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid { field })
    }

    /// A varint that counts things of at least `bytes_each` bytes: more than the input can hold is refused, so the
    /// count may be used to allocate.
    pub fn count(&mut self, bytes_each: usize, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.varint(field)?;
        usize::try_from(count)
            .ok()
            .filter(|count| count.saturating_mul(bytes_each.max(1)) <= self.rest.len())
            .ok_or(DecodeError::Truncated { field })
    }

    /// A byte string with its length before it.
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.count(1, field)?;
        self.take(length, field)
    }

    /// Exactly `length` bytes.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Checks that everything has been read.
    pub fn finish(self, field: &'static str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { field, bytes }),
        }
    }
}

/// Appends a varint in its shortest form.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a byte string with its length before it.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_have_one_form() {
        for (bytes, name) in [
            (&[0x80, 0x00][..], "a zero continued"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], "more than 64 bits"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], "eleven bytes"),
        ] {
            assert_eq!(Reader::new(bytes).varint("n"), Err(DecodeError::Invalid { field: "n" }), "{name}");
        }
    }

    #[test]
    fn a_length_beyond_the_input_allocates_nothing() {
        let mut input = Vec::new();
        put_varint(&mut input, u64::MAX);
        assert_eq!(Reader::new(&input).bytes("b"), Err(DecodeError::Truncated { field: "b" }));
        assert_eq!(Reader::new(&input).count(16, "b"), Err(DecodeError::Truncated { field: "b" }));
    }

    proptest! {
        #[test]
        fn round_trip(value: u64, bytes: Vec<u8>, tail: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_bytes(&mut out, &bytes);
            out.extend_from_slice(&tail);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("value"), Ok(value));
            prop_assert_eq!(reader.bytes("bytes"), Ok(&bytes[..]));
            prop_assert_eq!(reader.rest(), &tail[..]);
        }

        #[test]
        fn any_input_is_read_or_refused(input: Vec<u8>) {
            let mut reader = Reader::new(&input);
            if let Ok(value) = reader.varint("value") {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&input[..out.len()], &out[..]);
            }
            let _ = reader.bytes("bytes");
        }
    }
}
