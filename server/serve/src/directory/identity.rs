//! The identity's text.
//!
//! ```text
//! lentic node
//! format: 1
//! state: ready
//! incarnation: 0d5a3c91f1b24e77a8c1d3b90e6f2a41
//! cluster: 7f3a90c2115e4d0bb6a1f0c43d2e9a58
//! node: 3
//! ```
//!
//! While the node is joining, the last two lines are not there.

use std::fmt::Write as _;

use lentic_types::{ClusterId, NodeId};

/// The format of the data directory. A directory of another format is refused, older or newer.
pub const FORMAT_VERSION: u32 = 1;
/// The name of the file.
pub(super) const IDENTITY_NAME: &str = "identity";
pub(super) const IDENTITY_NEW_NAME: &str = "identity.new";
const FIRST_LINE: &str = "lentic node";

/// Who a node is: fixed for as long as its directory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id there.
    pub node: NodeId,
    /// Random bytes, made once: asking for an id again gives the same one.
    pub incarnation: [u8; 16],
}

/// How far a data directory has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The node has no id yet: nothing was ever promised from here.
    Joining {
        /// What the node asks for its id with.
        incarnation: [u8; 16],
    },
    /// The node has its id; log and store may be missing or half made.
    Creating(Member),
    /// Log and store are there, and what they hold counts.
    Ready(Member),
}

/// What a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    State(State),
    /// Of another release.
    OtherFormat(u32),
    /// Not what any release writes.
    Damaged(&'static str),
}

impl State {
    /// The member, once the node is one.
    #[must_use]
    pub const fn member(self) -> Option<Member> {
        match self {
            Self::Joining { .. } => None,
            Self::Creating(member) | Self::Ready(member) => Some(member),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Joining { .. } => "joining",
            Self::Creating(_) => "creating",
            Self::Ready(_) => "ready",
        }
    }

    pub(super) fn to_text(self) -> String {
        let incarnation = match self {
            Self::Joining { incarnation } => incarnation,
            Self::Creating(member) | Self::Ready(member) => member.incarnation,
        };
        let mut text = format!("{FIRST_LINE}\nformat: {FORMAT_VERSION}\nstate: {}\n", self.word());
        text.push_str("incarnation: ");
        incarnation.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes any text"));
        text.push('\n');
        if let Some(Member { cluster, node, .. }) = self.member() {
            writeln!(text, "cluster: {cluster}\nnode: {}", node.0).expect("a string takes any text");
        }
        text
    }

    /// Reads the text. Nothing but the format is looked at if that is not ours.
    pub(super) fn parse(text: &str) -> Parsed {
        Self::parse_or(text).unwrap_or_else(|refusal| refusal)
    }

    fn parse_or(text: &str) -> Result<Parsed, Parsed> {
        let damaged = Parsed::Damaged;
        let mut lines = text.split_terminator('\n');
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        field(FIRST_LINE).filter(|rest| rest.is_empty()).ok_or(damaged("its first line is not `lentic node`"))?;
        let format = field("format: ").and_then(|number| number.parse().ok()).ok_or(damaged("it has no format"))?;
        if format != FORMAT_VERSION {
            return Err(Parsed::OtherFormat(format));
        }
        let state = field("state: ").ok_or(damaged("it has no state"))?;
        let incarnation = field("incarnation: ").and_then(unhex).ok_or(damaged("it has no incarnation"))?;
        let mut member = || {
            let cluster = field("cluster: ").and_then(unhex).map(ClusterId).ok_or(damaged("it names no cluster"))?;
            let node = field("node: ").and_then(|number| number.parse().ok()).filter(|node| *node > 0);
            Ok(Member { cluster, node: NodeId(node.ok_or(damaged("it names no node"))?), incarnation })
        };
        let state = match state {
            "joining" => Self::Joining { incarnation },
            "creating" => Self::Creating(member()?),
            "ready" => Self::Ready(member()?),
            _ => return Err(damaged("its state is unknown")),
        };
        // What is read must be all there is, in the one way to write it.
        if state.to_text() == text {
            Ok(Parsed::State(state))
        } else {
            Err(damaged("it has more in it than it should"))
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (byte, position) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(position..position + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Member = Member { cluster: ClusterId([0xab; 16]), node: NodeId(3), incarnation: [0x5c; 16] };

    #[test]
    fn golden_text() {
        let ready = "lentic node\nformat: 1\nstate: ready\nincarnation: 5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c\ncluster: \
                     abababababababababababababababab\nnode: 3\n";
        assert_eq!(State::Ready(MEMBER).to_text(), ready);
        for state in [State::Joining { incarnation: [1; 16] }, State::Creating(MEMBER), State::Ready(MEMBER)] {
            assert_eq!(State::parse(&state.to_text()), Parsed::State(state));
        }
    }

    #[test]
    fn every_prefix_and_every_change_is_refused() {
        let text = State::Ready(MEMBER).to_text();
        for length in 0..text.len() {
            assert!(matches!(State::parse(&text[..length]), Parsed::Damaged(_)), "{:?}", &text[..length]);
        }
        for changed in [
            format!("{text}more\n"),
            text.replace("node: 3", "node: 0"),
            text.replace("node: 3", "node: +3"),
            text.replace("ready", "other"),
            text.replace("ready", "joining"),
            text.replace("cluster: ab", "cluster: +b"),
            text.replace("cluster: ab", "cluster: AB"),
            text.replace('\n', "\r\n"),
        ] {
            assert!(matches!(State::parse(&changed), Parsed::Damaged(_)), "{changed:?}");
        }
        assert_eq!(State::parse("lentic node\nformat: 2\nwhatever"), Parsed::OtherFormat(2));
    }
}
