//! An order-preserving, self-terminating encoding of byte strings.
//!
//! ```text
//! 00      → 00 FF
//! (end)   → 00 01
//! ```
//!
//! A string sorts before its extensions because the terminator `00 01` is below `00 FF` and below every other byte.
//! The encoding of one string is never a prefix of another's, so fields may follow it. Strings without zeros cost two
//! bytes; each zero costs one more. (The scheme is FoundationDB's tuple layer's, with another terminator.)

use lentic_types::codec::DecodeError;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const TERMINATOR: u8 = 0x01;
/// Above the terminator and below an escaped zero: between a string with its suffixes and the next string.
const AFTER_TERMINATOR: u8 = 0x02;

/// Appends the encoding of `bytes`, terminated.
pub fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_open(out, bytes);
    out.extend_from_slice(&[ESCAPE, TERMINATOR]);
}

/// Appends the encoding of `bytes` without a terminator: a lower bound of `bytes` and all strings after it.
pub fn put_open(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    out.extend_from_slice(parts.next().expect("split yields at least one part"));
    for part in parts {
        out.extend_from_slice(&[ESCAPE, ESCAPED_ZERO]);
        out.extend_from_slice(part);
    }
}

/// Turns an encoding, terminator included, into the bound just after everything that begins with it.
pub fn make_end_bound(encoding: &mut [u8]) {
    let last = encoding.last_mut().expect("an encoding ends with its terminator");
    assert_eq!(*last, TERMINATOR, "an encoding ends with its terminator");
    *last = AFTER_TERMINATOR;
}

/// Splits `input` behind its first terminator: the encoding with its terminator, and what follows.
pub fn split(input: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let mut from = 0;
    loop {
        let zero = find_zero(input, from)?;
        match input.get(zero + 1) {
            Some(&TERMINATOR) => return Ok(input.split_at(zero + 2)),
            Some(&ESCAPED_ZERO) => from = zero + 2,
            _ => return Err(DecodeError::Invalid { field: "escaped bytes" }),
        }
    }
}

/// Decodes one whole encoding, terminator included.
pub fn decode(encoding: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    let mut from = 0;
    loop {
        let zero = find_zero(encoding, from)?;
        // Exactly what is needed, for the usual string without zeros: it becomes a `Bytes` without another allocation.
        out.reserve_exact(zero - from);
        out.extend_from_slice(&encoding[from..zero]);
        match &encoding[zero + 1..] {
            [TERMINATOR] => return Ok(out),
            [ESCAPED_ZERO, ..] => out.push(0),
            _ => return Err(DecodeError::Invalid { field: "escaped bytes" }),
        }
        from = zero + 2;
    }
}

fn find_zero(input: &[u8], from: usize) -> Result<usize, DecodeError> {
    let rest = input.get(from..).unwrap_or_default();
    let offset = rest.iter().position(|byte| *byte == ESCAPE);
    offset.map(|offset| from + offset).ok_or(DecodeError::Truncated { field: "escaped bytes" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, bytes);
        out
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(b""), b"\x00\x01");
        assert_eq!(encoded(b"ab"), b"ab\x00\x01");
        assert_eq!(encoded(b"a\x00b"), b"a\x00\xffb\x00\x01");
        assert_eq!(encoded(b"\x00\x01"), b"\x00\xff\x01\x00\x01");
    }

    proptest! {
        #[test]
        fn round_trip_and_order(a in bytes(), b in bytes(), suffix: Vec<u8>) {
            let (x, y) = (encoded(&a), encoded(&b));
            prop_assert_eq!(decode(&x), Ok(a.clone()));
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert_eq!(a == b, y.starts_with(&x));
            let with_suffix = [x.clone(), suffix.clone()].concat();
            prop_assert_eq!(split(&with_suffix), Ok((&x[..], &suffix[..])));
            let mut bound = x.clone();
            make_end_bound(&mut bound);
            prop_assert!(with_suffix < bound);
            prop_assert_eq!(y >= bound, b > a);
            let mut open = Vec::new();
            put_open(&mut open, &a);
            prop_assert_eq!(y >= open, b >= a);
        }

        #[test]
        fn any_input_is_decoded_or_refused(input in bytes()) {
            if let Ok(bytes) = decode(&input) {
                prop_assert_eq!(encoded(&bytes), input.clone());
            }
            let _ = split(&input);
        }
    }

    /// Byte strings full of the bytes that matter.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0u8), Just(1), Just(2), Just(0xff), any::<u8>()];
        proptest::collection::vec(byte, 0..12)
    }
}
