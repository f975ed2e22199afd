//! Cluster ids, and the times at which values end.

use lentic_types::{ClusterId, Expiry, Version};

use crate::v1;

/// The cluster that a message names; `None` if it names none. The other way it is `Bytes::copy_from_slice(&id.0)`.
///
/// # Errors
/// Neither 16 bytes nor none: a failure of kind invalid.
pub fn cluster_id(bytes: &[u8]) -> Result<Option<ClusterId>, v1::Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let found = bytes.len();
    let id = bytes.try_into().map_err(|_| {
        v1::Failure::invalid(format!("a cluster id is 16 bytes, found {found}; leave it out if it is not known"))
    })?;
    Ok(Some(ClusterId(id)))
}

/// When a value ends, from milliseconds since 1970. What ends before 2020 ends at the first version: it is never seen.
#[must_use]
pub fn expiry(unix_ms: u64) -> Expiry {
    Expiry(unix_ms.saturating_sub(Version::UNIX_MS_AT_ZERO))
}

/// When a value ends, in milliseconds since 1970.
#[must_use]
pub fn expiry_unix_ms(expiry: Expiry) -> u64 {
    expiry.0.saturating_add(Version::UNIX_MS_AT_ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_types::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn a_cluster_id_is_sixteen_bytes_or_none() {
        assert_eq!(cluster_id(&[]), Ok(None));
        assert_eq!(cluster_id(&[7; 16]), Ok(Some(ClusterId([7; 16]))));
        for length in [1, 15, 17, 1_000] {
            let failure = cluster_id(&vec![7; length]).unwrap_err();
            assert_eq!(failure.error_kind(), ErrorKind::Invalid);
            assert!(failure.message.contains(&format!("found {length};")), "{failure}");
        }
    }

    #[test]
    fn a_value_that_ends_before_2020_is_never_seen() {
        for unix_ms in [0, Version::UNIX_MS_AT_ZERO - 1, Version::UNIX_MS_AT_ZERO] {
            assert_eq!(expiry(unix_ms), Expiry(0));
            assert!(expiry(unix_ms).is_over_at(Version::ZERO));
        }
        assert!(!expiry(Version::UNIX_MS_AT_ZERO + 1).is_over_at(Version::ZERO));
    }

    proptest! {
        #[test]
        fn ends_come_back(unix_ms in Version::UNIX_MS_AT_ZERO..) {
            prop_assert_eq!(expiry_unix_ms(expiry(unix_ms)), unix_ms);
        }
    }
}
