//! What happened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::link::{Address, Class};

/// Something that happened on the network. A trace of them tells whether two runs were the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetEvent {
    /// When, since the network began.
    pub at: Duration,
    /// From where.
    pub from: Address,
    /// To where.
    pub to: Address,
    /// The kind of link.
    pub class: Class,
    /// The link, numbered from 1 as they are opened; 0 while there is none.
    pub link: u64,
    /// What.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A link was opened.
    Opened,
    /// A link could not be opened.
    Failed(&'static str),
    /// A frame arrived.
    Delivered(Bytes),
    /// A frame would have arrived, and is held back by a cut.
    Held,
    /// The link broke, with so many frames on their way in this direction.
    Broken {
        /// Why.
        reason: Arc<str>,
        /// What did not arrive.
        lost: usize,
    },
    /// This direction ended, with everything delivered.
    Ended,
}

impl fmt::Display for NetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} {:?} {}: ", self.from, self.to, self.class, self.link)?;
        match &self.what {
            Happening::Opened => write!(f, "opened"),
            Happening::Failed(reason) => write!(f, "not opened: {reason}"),
            Happening::Delivered(frame) => write!(f, "{} bytes", frame.len()),
            Happening::Held => write!(f, "held back"),
            Happening::Broken { reason, lost } => write!(f, "broken: {reason}, {lost} frames lost"),
            Happening::Ended => write!(f, "ended"),
        }
    }
}

/// How often things happened, so that a test can demand that its faults had an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounts {
    /// Links opened.
    pub links: u64,
    /// Dials that found nobody.
    pub dials_refused: u64,
    /// Dials that a cut made fail.
    pub dials_cut: u64,
    /// Frames that arrived.
    pub frames: u64,
    /// Of those, frames that took unusually long.
    pub frames_late: u64,
    /// Frames that a cut held back; some arrived later.
    pub frames_held: u64,
    /// Frames that were on their way when their link broke.
    pub frames_lost: u64,
    /// Links that a cut broke in the end.
    pub links_cut: u64,
    /// Links that a frame broke by chance.
    pub links_reset: u64,
    /// Links that a test broke, or the crash of a host.
    pub links_broken: u64,
}
