//! Failures as gRPC statuses: the code follows from the kind alone, the failure itself travels in the details.
//!
//! The details are a `google.rpc.Status` with one `google.protobuf.Any`, where every gRPC library looks for them. They
//! are sent as a header, and peers refuse headers above a few KiB: a long message is cut, and a route too long is left
//! out.

use bytes::Bytes;
use lentic_types::ErrorKind;
use prost::Message as _;
use tonic::{Code, Status};

use crate::v1;

/// What the details name as their type.
const TYPE_URL: &str = "type.googleapis.com/lentic.v1.Failure";

/// Longest message in a status, in bytes. It is sent twice, percent-encoded (three bytes for one) and in the details.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Largest details in bytes, before base64 makes four of three. Clients of the common libraries take 8 KiB of headers or
/// more.
const DETAIL_BYTES_MAX: usize = 3_072;

const _: () = assert!(
    3 * MESSAGE_BYTES_MAX + DETAIL_BYTES_MAX.div_ceil(3) * 4 < 8_000,
    "a status fits the headers that every peer takes"
);
const _: () = assert!(2 * MESSAGE_BYTES_MAX < DETAIL_BYTES_MAX, "details hold a failure without its route");

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The gRPC code of a kind. A client that knows nothing else may retry what is unavailable, and nothing else.
#[must_use]
pub fn grpc_code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::ConditionFailed | ErrorKind::Fenced | ErrorKind::Owned | ErrorKind::WrongKind | ErrorKind::InUse => {
            Code::FailedPrecondition
        }
        ErrorKind::VersionTooOld | ErrorKind::VersionTooNew | ErrorKind::TooLarge => Code::OutOfRange,
        ErrorKind::AnswerForgotten | ErrorKind::Conflict => Code::Aborted,
        ErrorKind::WrongEpoch | ErrorKind::NotLeader => Code::Unavailable,
        ErrorKind::Throttled => Code::ResourceExhausted,
        ErrorKind::Unknown => Code::Unknown,
        ErrorKind::Internal => Code::Internal,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
    }
}

impl From<v1::Failure> for Status {
    fn from(mut failure: v1::Failure) -> Self {
        let code = grpc_code(failure.error_kind());
        cut(&mut failure.message);
        let message = failure.message.clone();
        let mut details = details(code, &failure);
        if details.len() > DETAIL_BYTES_MAX {
            // The client asks for the route, as it does when a failure brings none.
            failure.shard = None;
            details = self::details(code, &failure);
        }
        Self::with_details(code, message, details.into())
    }
}

/// Cuts a message between characters.
fn cut(message: &mut String) {
    if message.len() > MESSAGE_BYTES_MAX {
        let fits = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(fits.unwrap_or(0));
    }
}

fn details(code: Code, failure: &v1::Failure) -> Vec<u8> {
    // The message is in the failure and in the status, so it is left out here.
    let any = Any { type_url: TYPE_URL.to_owned(), value: failure.encode_to_vec().into() };
    RpcStatus { code: code.into(), message: String::new(), details: vec![any] }.encode_to_vec()
}

/// The failure in a status. A status without one comes from a library or a proxy: unless its code says that the request
/// was refused as it is, the request may have had its effect.
impl From<&Status> for v1::Failure {
    fn from(status: &Status) -> Self {
        in_details(status.details()).unwrap_or_else(|| {
            let kind = match status.code() {
                Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated => {
                    ErrorKind::Invalid
                }
                _ => ErrorKind::Unknown,
            };
            Self::new(kind, format!("{}: {}", status.code().description(), status.message()))
        })
    }
}

fn in_details(details: &[u8]) -> Option<v1::Failure> {
    let status = RpcStatus::decode(details).ok()?;
    let any = status.details.into_iter().find(|any| any.type_url == TYPE_URL)?;
    v1::Failure::decode(any.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_safe_to_retry_is_unavailable_or_exhausted() {
        use lentic_types::Retry;
        for kind in ErrorKind::ALL.iter().copied() {
            let says_retry = matches!(grpc_code(kind), Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(says_retry, kind.retry() == Retry::Safe, "{}", kind.word());
            assert_ne!(grpc_code(kind), Code::Ok);
        }
    }

    #[test]
    fn a_status_of_others_promises_nothing() {
        let failure = v1::Failure::from(&Status::unavailable("connection reset"));
        assert_eq!(failure.error_kind(), ErrorKind::Unknown);
        assert!(failure.message.ends_with(": connection reset"), "{failure}");
        assert_eq!(v1::Failure::from(&Status::unimplemented("")).error_kind(), ErrorKind::Invalid);
        let garbage = Status::with_details(Code::Unavailable, "", Bytes::from_static(b"\xff\xff"));
        assert_eq!(v1::Failure::from(&garbage).error_kind(), ErrorKind::Unknown);
    }

    #[test]
    fn details_are_those_of_google_rpc() {
        let status = Status::from(v1::Failure::new(ErrorKind::NotFound, "m"));
        let mut expected = vec![8, 5, 26, 48, 10, 37];
        expected.extend(TYPE_URL.as_bytes());
        expected.extend([18, 7, 8, 15, 18, 1, b'm', 24, 3]);
        assert_eq!(status.details(), expected);
    }

    #[test]
    fn a_status_fits_its_headers() {
        let shard = v1::Shard { start: vec![0xff; 16 << 10].into(), ..v1::Shard::default() };
        let message = "ü".repeat(40 << 10);
        let failure = v1::Failure::new(ErrorKind::WrongEpoch, message.clone()).with_shard(shard).with_version(9);
        let status = Status::from(failure);
        assert!(status.details().len() <= DETAIL_BYTES_MAX && status.message().len() <= MESSAGE_BYTES_MAX);
        let back = v1::Failure::from(&status);
        assert_eq!((back.error_kind(), back.version, back.shard.clone()), (ErrorKind::WrongEpoch, Some(9), None));
        assert!(message.starts_with(&back.message) && back.message.len() >= MESSAGE_BYTES_MAX - 1);
    }

    proptest! {
        #[test]
        fn failures_come_back_from_a_status(
            (kind, retry, retry_after_ms) in any::<(i32, i32, u32)>(),
            known in 0..20,
            message in "\\PC{0,80}",
            (position, version, shard) in any::<(Option<u32>, Option<u64>, Option<u64>)>(),
        ) {
            let shard = shard.map(|shard| {
                Box::new(v1::Shard { shard, leader_address: "http://a:1".to_owned(), ..v1::Shard::default() })
            });
            for kind in [kind, known] {
                let shard = shard.clone();
                let failure = v1::Failure { kind, message: message.clone(), retry, retry_after_ms, shard, position, version };
                let status = Status::from(failure.clone());
                prop_assert_eq!(status.message(), &failure.message);
                prop_assert_eq!(status.code(), grpc_code(failure.error_kind()));
                prop_assert_eq!(v1::Failure::from(&status), failure);
            }
        }

        #[test]
        fn no_details_panic(details in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = v1::Failure::from(&Status::with_details(Code::Unknown, "", details.into()));
        }
    }
}
