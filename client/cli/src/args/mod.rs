//! Arguments that several commands have.

mod condition;
mod keys;
mod range;
mod reading;

pub(crate) use condition::{ConditionArgs, version};
pub(crate) use keys::{AtArgs, ReadAt, ReadAtArgs, ShowArgs, SyntaxArgs};
pub(crate) use range::RangeArgs;
pub(crate) use reading::Reading;
