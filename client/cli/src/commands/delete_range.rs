//! `lentic delete-range`

use clap::Args;
use lentic_client::{Error, ErrorKind, KeyRange, Table, Version};
use lentic_types::limits::DELETE_RANGE_KEYS_MAX;
use serde::Serialize;

use crate::args::{RangeArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{Answer, version_text};
use crate::session::{Outcome, Session};

/// Keys to remove at a time when the range has too many: half of what is refused, for others may add some meanwhile.
const PART_KEYS_MAX: u64 = DELETE_RANGE_KEYS_MAX as u64 / 2;

/// Remove the values of all keys of a range; a large range is removed part by part
#[derive(Clone, Debug, Args)]
pub(crate) struct DeleteRangeArgs {
    /// The table
    table: String,
    #[command(flatten)]
    range: RangeArgs,
    /// All keys of the table
    #[arg(long, conflicts_with_all = ["prefix", "from", "to"])]
    all: bool,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl DeleteRangeArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        if self.range.is_all() != self.all {
            return Err(Failure::usage("no range was given; say --prefix, --from or --to, or --all for all keys"));
        }
        let range = self.range.range(self.syntax)?;
        let table = session.client().await?.table(&self.table);
        let (version, parts) = match table.delete_range(&range).await {
            Ok(version) => (version, 1),
            Err(error) if error.kind() == ErrorKind::TooLarge => delete_in_parts(&table, range).await?,
            Err(error) => return Err(error.into()),
        };
        session.printer.answer(&Deleted { version: version_text(version), parts })?;
        Ok(Ending::Done)
    }
}

/// Removes the values of a range from its start on, so many keys at a time. Returns the last version and the number of
/// parts. It can be begun anew wherever it fails.
async fn delete_in_parts(table: &Table, range: KeyRange) -> Result<(Version, u64), Error> {
    let (mut rest, mut parts, mut keys_max) = (range, 0, PART_KEYS_MAX);
    loop {
        let after = key_after(table, &rest, keys_max).await?;
        let (part, left) = match after {
            Some(after) => cut(&rest, after),
            None => (rest.clone(), None),
        };
        match table.delete_range(&part).await {
            Ok(version) => {
                parts += 1;
                match left {
                    Some(left) => rest = left,
                    None => return Ok((version, parts)),
                }
            }
            Err(error) if error.kind() == ErrorKind::TooLarge && keys_max > 1 => keys_max /= 2,
            Err(error) => return Err(error),
        }
    }
}

/// The lowest key above the first `keys` keys that have a value in `range`; `None` if there are no more than that.
async fn key_after(table: &Table, range: &KeyRange, keys: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut scan = table.scan(range.clone()).limit(keys + 1).start();
    let mut seen = 0;
    while let Some(row) = scan.next().await {
        let row = row?;
        seen += 1;
        if seen > keys {
            return Ok(Some(row.key.to_vec()));
        }
    }
    Ok(None)
}

/// The keys of `range` before `key`, and those from it on.
fn cut(range: &KeyRange, key: Vec<u8>) -> (KeyRange, Option<KeyRange>) {
    let part =
        KeyRange::new(range.start().clone(), Some(key.clone())).expect("the key is above the start of the range");
    (part, KeyRange::new(key, range.end().cloned()).ok())
}

#[derive(Serialize)]
struct Deleted {
    version: String,
    parts: u64,
}

impl Answer for Deleted {
    fn human(&self) -> String {
        let parts = if self.parts > 1 { format!(" in {} parts", self.parts) } else { String::new() };
        format!("v{}{parts}\n", self.version)
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![format!("v{}", self.version), self.parts.to_string()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_range_is_cut_before_a_key() {
        let range = KeyRange::new("a", Some("c")).unwrap();
        let (part, left) = cut(&range, b"b".to_vec());
        assert_eq!((part.start(), part.end()), (&"a".into(), Some(&"b".into())));
        assert_eq!(left, KeyRange::new("b", Some("c")).ok());
        assert_eq!(cut(&KeyRange::all(), b"b".to_vec()).1, KeyRange::new("b", None::<&str>).ok());
    }

    #[test]
    fn removing_a_range_tells_its_parts() {
        let deleted = |parts| shapes_of(&Deleted { version: "7".to_owned(), parts });
        assert_eq!(deleted(1), ["v7\n", "v7\t1\n", "{\"version\":\"7\",\"parts\":1}\n"]);
        assert_eq!(deleted(3)[0], "v7 in 3 parts\n");
    }
}
