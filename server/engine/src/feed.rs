//! Feeds: all that was committed to a range between two versions, in the order of versions.
//!
//! The store keeps history by key, newest first, and a feed gives it by version, oldest first:
//!
//! ```text
//!            v10   v20   v30   v40          by key       apple v30, v10; beech v20, v10; cedar v40, v20
//!   apple     =a          ×                 as a feed    (v10, apple) (v10, beech) (v20, beech) (v20, cedar)
//!   beech     =1    +2                                   (v30, apple) (v40, cedar)
//!   cedar           =c          =d
//! ```
//!
//! So a feed has two steps, and only the first differs between old changes and new ones:
//!
//! 1. **Which** changes there are, as versions with keys and nothing more. The newest are noted while they are applied
//!    ([`Recent`]); older ones are found by a walk over the range ([`Window`]), which keeps the lowest that fit its
//!    memory. A walk looks at every key of the range, so a feed that catches up on `c` changes in a range of `n` keys
//!    costs `n` steps for each `w` of them, `w` being as many as fit: about 100,000 short keys a window.
//! 2. **What** they are: a page of values, each read at its own version ([`Feed::page`]).
//!
//! What a change says:
//!
//! - Every commit is told, also of a key that was written again soon after. A cell holds one record, so what one request
//!   does to a key in several operations is one change.
//! - A change has the value that a reader at its version sees: a merge is told folded. What had ended when it was written
//!   is told as a delete. That a value ends later is no change; its expiry comes with it.
//! - A rollback is told at its own version, and what it hides was told before: a feed is the history as it was.
//!
//! Nothing below the watermark can be told, for it may be gone; and nothing above the version below which no commit can
//! appear any more, for it may be out of order. Both are for the caller to see to.

mod index;
mod page;
mod recent;
#[cfg(test)]
mod tests;
mod window;

pub use page::{Feed, FeedEvent, FeedLimits, FeedPage};
pub use recent::Recent;
pub use window::Window;
