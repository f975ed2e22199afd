//! Key ranges.

use bytes::Bytes;
use lentic_types::KeyRange;

use crate::v1;

/// The range that a message names by its bounds; without an end it is the rest of the table.
///
/// # Errors
/// The end is at or before the start: a failure of kind invalid, to which the caller adds the position.
pub fn key_range(start: Bytes, end: Option<Bytes>) -> Result<KeyRange, v1::Failure> {
    KeyRange::new(start, end).map_err(|error| v1::Failure::invalid(error.to_string()))
}

macro_rules! ranges {
    ($($message:ident),*) => {$(
        impl From<KeyRange> for v1::$message {
            fn from(range: KeyRange) -> Self {
                Self { start: range.start().clone(), end: range.end().cloned() }
            }
        }

        impl TryFrom<v1::$message> for KeyRange {
            type Error = v1::Failure;

            fn try_from(message: v1::$message) -> Result<Self, v1::Failure> {
                key_range(message.start, message.end)
            }
        }
    )*};
}

ranges!(Rest, DeleteRange);

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_types::ErrorKind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_come_back_and_others_are_refused(
            start in proptest::collection::vec(any::<u8>(), 0..3),
            end in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3)),
        ) {
            let message = v1::Rest { start: Bytes::from(start), end: end.map(Bytes::from) };
            let inside_out = message.end.as_ref().is_some_and(|end| *end <= message.start);
            match KeyRange::try_from(message.clone()) {
                Ok(range) => {
                    prop_assert!(!inside_out);
                    prop_assert_eq!(v1::Rest::from(range.clone()), message);
                    prop_assert_eq!(KeyRange::try_from(v1::DeleteRange::from(range.clone())), Ok(range));
                }
                Err(failure) => {
                    prop_assert!(inside_out);
                    prop_assert_eq!(failure.error_kind(), ErrorKind::Invalid);
                }
            }
        }
    }
}
