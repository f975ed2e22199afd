//! How things are written as text: bytes, spans of time, moments, operands, values.

mod bytes;
mod form;
mod moment;
mod operand;
mod quantity;
mod span;

pub(crate) use bytes::{Hex, Prose, Shown, Strict, Syntax, of_members as bytes_of_members};
pub(crate) use form::{Form, Formed};
pub(crate) use moment::{Moment, rfc3339, time_of, unix_ms_of};
pub(crate) use operand::{operand, operand_words};
pub(crate) use quantity::{bytes as quantity_of_bytes, count, per_second, rate};
pub(crate) use span::{Span, SpanError};
