//! The meta group on a node: its machine over the store, the oracle, and how the rest of the node speaks to it.

mod doubt;
pub(crate) mod machine;
pub(crate) mod oracle;
pub(crate) mod pins;
pub(crate) mod service;
mod spread;
