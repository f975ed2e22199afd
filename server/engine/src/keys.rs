//! The kinds of store keys, one file each.
//!
//! | family | key | kind |
//! |---|---|---|
//! | data | table, user key (escaped), version (inverted) | [`data`]: one record of a user key |
//! | sys | group, 0x01 | [`sys::applied_key`]: the index of the last entry applied |
//! | sys | group, 0x02 | `descriptor`: the shard's range, epoch and watermark |
//! | sys | group, 0x03, range start | `fence`: an owned range and its token |
//! | sys | group, 0x04, version of the rollback | `mask`: an interval of versions hidden in a range |
//! | sys | group, 0x0a, index | `answers`: what the requests of one entry with idempotency keys were told |
//! | sys | group, 0x06 | `stamp`: the newest stamp, and the horizon of forgotten answers |
//! | sys | group, 0x0b, transaction | `txn`: a transaction that is prepared, or decided and not resolved everywhere |
//! | sys | group, 0x0c, last version of a prepare, transaction | `ended`: a transaction that has ended here |
//! | sys | group, 0x0d | `txn horizon`: up to where ended transactions may have been let go of |
//! | lock | table, user key (escaped), transaction | [`lock`]: what a prepared transaction does with a user key |
//!
//! Keys sort by plain byte order and carry no shard: a split moves nothing. A group's own state is written and read
//! by `machine`, which owns the values behind the tags 0x02 to 0x06 and from 0x0a on; the tags have their home here, beside each other.

pub mod data;
pub mod escape;
pub mod lock;
pub mod sys;
