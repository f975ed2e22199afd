//! `lentic table owners`

use clap::Args;
use lentic_client::{Owned, Owners, Version};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::args::{RangeArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::output::{Align, Answer, Table, bytes_member};
use crate::session::{Outcome, Session};
use crate::text::{Span, Strict};

#[derive(Clone, Debug, Args)]
pub(crate) struct OwnersArgs {
    /// The table's name
    name: String,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl OwnersArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let range = self.range.range(self.syntax)?;
        let found = session.client().await?.table(&self.name).owners(&range).await?;
        session.printer.answer(&Shown::new(&self.name, &found))?;
        Ok(Ending::Done)
    }
}

/// The owned parts of a range, and how long each has been owned.
#[derive(Serialize)]
struct Shown<'a> {
    table: &'a str,
    owners: Vec<OwnerRow<'a>>,
}

struct OwnerRow<'a> {
    owned: &'a Owned,
    age_ms: u64,
}

impl<'a> Shown<'a> {
    fn new(table: &'a str, Owners { parts, now }: &'a Owners) -> Self {
        let age_ms = |owned: &Owned| now.ms().saturating_sub(Version(owned.fence.0).ms());
        Self { table, owners: parts.iter().map(|owned| OwnerRow { owned, age_ms: age_ms(owned) }).collect() }
    }
}

impl Serialize for OwnerRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Owned { range, owner, fence } = self.owned;
        let mut map = serializer.serialize_map(None)?;
        bytes_member(&mut map, "start", range.start())?;
        match range.end() {
            Some(end) => bytes_member(&mut map, "end", end)?,
            None => map.serialize_entry("end", &None::<&str>)?,
        }
        map.serialize_entry("owner", owner)?;
        // As text, as all versions are: it has more digits than numbers have elsewhere.
        map.serialize_entry("fence", &fence.0.to_string())?;
        map.serialize_entry("age_ms", &self.age_ms)?;
        map.end()
    }
}

impl Answer for Shown<'_> {
    fn human(&self) -> String {
        if self.owners.is_empty() {
            return format!("nobody owns a part of it; table {} is free for all writers there\n", self.table);
        }
        let columns = ["FROM", "TO", "OWNER", "FENCE", "AGE"].map(|title| (title, Align::Left));
        let mut table = Table::new(&columns);
        for OwnerRow { owned: Owned { range, owner, fence }, age_ms } in &self.owners {
            let seconds = Span::from_ms(age_ms / 1_000 * 1_000);
            table.push(vec![
                if range.start().is_empty() { "..".to_owned() } else { Strict(range.start()).to_string() },
                range.end().map_or_else(|| "..".to_owned(), |end| Strict(end).to_string()),
                Strict(owner.as_bytes()).to_string(),
                fence.to_string(),
                if seconds.is_zero() { "0s".to_owned() } else { seconds.to_string() },
            ]);
        }
        table.rendered()
    }

    /// Start, end, owner, fence, age in milliseconds.
    fn plain(&self) -> Vec<Vec<String>> {
        let row = |OwnerRow { owned: Owned { range, owner, fence }, age_ms }: &OwnerRow<'_>| {
            vec![
                Strict(range.start()).to_string(),
                range.end().map(|end| Strict(end).to_string()).unwrap_or_default(),
                Strict(owner.as_bytes()).to_string(),
                fence.0.to_string(),
                age_ms.to_string(),
            ]
        };
        self.owners.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use lentic_client::{Fence, KeyRange};

    #[test]
    fn owners_are_shown_with_their_ages() {
        let at = |ms| Version::tick(ms, 0).unwrap();
        let owned = |start: &'static str, end: Option<&'static str>, owner: &str, ms| Owned {
            range: KeyRange::new(start, end).unwrap(),
            owner: owner.to_owned(),
            fence: Fence(at(ms).0),
        };
        let parts = vec![owned("", Some("k"), "clicks", 1_000), owned("m", None, "a\nb", 4_999)];
        let [human, plain, json] = shapes_of(&Shown::new("t", &Owners { parts, now: at(5_000) }));
        assert_eq!(
            human,
            "FROM  TO  OWNER   FENCE         AGE\n\
             ..    k   clicks  f4194304000   4s\n\
             m     ..  a\\nb    f20967325696  0s\n"
        );
        assert_eq!(plain, "\tk\tclicks\t4194304000\t4000\nm\t\ta\\nb\t20967325696\t1\n");
        assert_eq!(
            json,
            "{\"table\":\"t\",\"owners\":[{\"start\":\"\",\"end\":\"k\",\"owner\":\"clicks\",\"fence\":\"4194304000\",\
             \"age_ms\":4000},{\"start\":\"m\",\"end\":null,\"owner\":\"a\\nb\",\"fence\":\"20967325696\",\"age_ms\":1}]}\n"
        );
        assert!(shapes_of(&Shown::new("t", &Owners::default()))[0].starts_with("nobody owns"));
    }
}
