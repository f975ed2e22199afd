//! What a directory is: a small file beside the database that says so to us and to an operator.
//!
//! ```text
//! lentic store
//! format: 1
//! cluster: 7f3a90c2115e4d0bb6a1f0c43d2e9a58
//! state: ready
//! ```
//!
//! It is read before RocksDB is allowed near the directory, and replaced only as a whole: written under another name,
//! synced, renamed, and the rename synced. `state: creating` stands from before the database's first byte until it has
//! been opened once; a database that is missing is made only then, so that one that was lost is an error, not an
//! empty store that has forgotten what it voted for.

use std::fs::File;
use std::io;
use std::path::Path;

use lentic_types::ClusterId;

/// The format of the directory and of everything in it. A store of another format is refused, older or newer.
pub const FORMAT_VERSION: u32 = 1;
/// The name of the file.
pub(crate) const IDENTITY_NAME: &str = "LENTIC";
const IDENTITY_NEW_NAME: &str = "LENTIC.new";
const FIRST_LINE: &str = "lentic store";
/// Longer than any identity of any format that fits the first two lines.
const IDENTITY_BYTES_MAX: u64 = 4 << 10;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The database may be missing or half made; nothing was ever written to it.
    Creating,
    /// The database is complete, and must be there.
    Ready,
}

/// Why the text of the file is not an identity of this release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityError {
    /// Another format, of another release.
    Format(u32),
    /// Not what any release writes.
    Damaged(&'static str),
}

impl Identity {
    pub(crate) fn to_text(self) -> String {
        let state = match self.state {
            State::Creating => "creating",
            State::Ready => "ready",
        };
        format!("{FIRST_LINE}\nformat: {FORMAT_VERSION}\ncluster: {}\nstate: {state}\n", self.cluster)
    }

    /// Reads the text. Nothing but the format is looked at if that is not ours.
    pub(crate) fn parse(text: &str) -> Result<Self, IdentityError> {
        let damaged = IdentityError::Damaged;
        let mut lines = text.split_terminator('\n');
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        field(FIRST_LINE).filter(|rest| rest.is_empty()).ok_or(damaged("its first line is not `lentic store`"))?;
        let format = field("format: ").and_then(|number| number.parse().ok()).ok_or(damaged("it has no format"))?;
        if format != FORMAT_VERSION {
            return Err(IdentityError::Format(format));
        }
        let cluster = field("cluster: ").and_then(parse_cluster).ok_or(damaged("it names no cluster"))?;
        let state = match field("state: ") {
            Some("creating") => State::Creating,
            Some("ready") => State::Ready,
            _ => return Err(damaged("it has no state")),
        };
        let identity = Self { cluster, state };
        if identity.to_text() == text { Ok(identity) } else { Err(damaged("it has more in it than it should")) }
    }

    /// The text of `directory`'s identity; `None` if it has none. Damage shows when it is parsed.
    pub(crate) fn read(directory: &Path) -> io::Result<Option<String>> {
        use io::Read as _;
        let mut bytes = Vec::new();
        match File::open(directory.join(IDENTITY_NAME)) {
            Ok(file) => file.take(IDENTITY_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Makes this the identity of `directory`, durably.
    pub(crate) fn write(self, directory: &Path) -> io::Result<()> {
        let new = directory.join(IDENTITY_NEW_NAME);
        lentic_files::replace(&directory.join(IDENTITY_NAME), &new, self.to_text().as_bytes())
    }

    /// Whether a directory that holds `name` and no identity can still be one we were about to make.
    pub(crate) fn may_precede(name: &str) -> bool {
        // `lost+found` is what a fresh file system has in its root, and a mount point is a usual place for a store.
        [IDENTITY_NEW_NAME, lentic_files::LOCK_NAME, "lost+found"].contains(&name)
    }
}

fn parse_cluster(text: &str) -> Option<ClusterId> {
    let mut id = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (byte, position) in id.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(position..position + 2)?, 16).ok()?;
    }
    Some(ClusterId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { cluster: ClusterId([0xab; 16]), state: State::Ready };

    #[test]
    fn golden_text() {
        let text = "lentic store\nformat: 1\ncluster: abababababababababababababababab\nstate: ready\n";
        assert_eq!(IDENTITY.to_text(), text);
        assert_eq!(Identity::parse(text), Ok(IDENTITY));
        let creating = Identity { state: State::Creating, ..IDENTITY };
        assert_eq!(Identity::parse(&creating.to_text()), Ok(creating));
    }

    #[test]
    fn every_prefix_and_every_addition_is_refused() {
        let text = IDENTITY.to_text();
        for length in 0..text.len() {
            assert!(Identity::parse(&text[..length]).is_err(), "{:?}", &text[..length]);
        }
        assert!(Identity::parse(&format!("{text}more\n")).is_err());
        assert!(Identity::parse(&text.replace("cluster: ab", "cluster: +b")).is_err());
    }

    #[test]
    fn of_another_format_nothing_else_is_looked_at() {
        assert_eq!(Identity::parse("lentic store\nformat: 2\nwhatever"), Err(IdentityError::Format(2)));
    }
}
