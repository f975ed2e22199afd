//! A machine without the type of its reply.
//!
//! openraft is generic over the machine. Erased, it is compiled once, in this crate, and not again for each kind of
//! group.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use lentic_types::Index;

use crate::machine::{Committed, Fault, Machine, Transfer};
use crate::types::Reply;

/// [`Machine`] with erased replies. A panic in a call becomes a [`Fault`]: it stops the group, not the process.
pub(crate) trait Erased: Send + Sync + 'static {
    fn replica(&self) -> Result<Option<Bytes>, Fault>;
    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<Reply>, Fault>;
    fn durable(&self) -> Result<Index, Fault>;
    fn request_flush(&self) -> Result<(), Fault>;
    fn transfer(&self) -> Arc<dyn Transfer>;
    fn reload(&mut self) -> Result<(), Fault>;
}

impl<M: Machine> Erased for M {
    fn replica(&self) -> Result<Option<Bytes>, Fault> {
        guard(|| Machine::replica(self))
    }

    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<Reply>, Fault> {
        let replies = guard(|| Machine::apply(self, entries, replica))?;
        Ok(replies.into_iter().map(|reply| Reply(Some(Box::new(reply)))).collect())
    }

    fn durable(&self) -> Result<Index, Fault> {
        guard(|| Machine::durable(self))
    }

    fn request_flush(&self) -> Result<(), Fault> {
        guard(|| Machine::request_flush(self))
    }

    fn transfer(&self) -> Arc<dyn Transfer> {
        Machine::transfer(self)
    }

    fn reload(&mut self) -> Result<(), Fault> {
        guard(|| Machine::reload(self))
    }
}

/// Runs `call`. After a panic the machine is not used again: the fault stops the group.
pub(crate) fn guard<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Fault::new(format!("the machine panicked: {text}; this replica stops, see its first error")))
    })
}
