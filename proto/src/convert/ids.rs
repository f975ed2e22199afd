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

/// When a value ends, from milliseconds since 1970. A time that no version has is refused: it is most often one in
/// seconds.
///
/// # Errors
/// It is before 2020 or after 2159.
pub fn expiry(unix_ms: u64) -> Result<Expiry, v1::Failure> {
    let ms = unix_ms.checked_sub(Version::UNIX_MS_AT_ZERO).filter(|ms| *ms <= Version::MS_MAX);
    ms.map(Expiry).ok_or_else(|| {
        let message = format!(
            "expires_unix_ms is {unix_ms}, expected milliseconds since 1970 from 2020 to 2159; leave it out for never"
        );
        v1::Failure::invalid(message)
    })
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
    fn ends_that_no_version_has_are_refused() {
        let at_zero = Version::UNIX_MS_AT_ZERO;
        for unix_ms in [0, 1, 1_800_000_000, at_zero - 1, at_zero + Version::MS_MAX + 1, u64::MAX] {
            let failure = expiry(unix_ms).unwrap_err();
            assert_eq!(failure.error_kind(), ErrorKind::Invalid);
            assert!(failure.message.contains(&unix_ms.to_string()), "{}", failure.message);
        }
        assert_eq!(expiry(at_zero), Ok(Expiry(0)));
    }

    proptest! {
        #[test]
        fn ends_come_back(unix_ms in Version::UNIX_MS_AT_ZERO..=Version::UNIX_MS_AT_ZERO + Version::MS_MAX) {
            prop_assert_eq!(expiry(unix_ms).map(expiry_unix_ms), Ok(unix_ms));
        }
    }
}
