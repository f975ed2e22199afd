//! `lentic diff`

use clap::Args;
use lentic_client::{Client, Difference, KeyRange, Value, Version, prefix_range};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::args::SyntaxArgs;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{Answer, bytes_member, version_text};
use crate::session::{Outcome, Session};
use crate::text::{Moment, Shown, Strict, rfc3339};

/// Show what is read differently at two versions, in the order of the keys
///
/// A key that was written again with the same value is left out.
#[derive(Clone, Debug, Args)]
pub(crate) struct DiffArgs {
    /// The table
    table: String,
    /// Compare a version (v123), a time (2026-05-01T10:03:00Z), or so long ago (-10m)
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
    from: Moment,
    /// With this one; else with now
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
    to: Option<Moment>,
    /// The keys that begin with this
    #[arg(long, value_name = "KEY", conflicts_with_all = ["start", "end"])]
    prefix: Option<String>,
    /// The keys from this one on
    #[arg(long, value_name = "KEY")]
    start: Option<String>,
    /// The keys before this one
    #[arg(long, value_name = "KEY")]
    end: Option<String>,
    /// Show at most so many keys
    #[arg(long, value_name = "KEYS")]
    limit: Option<u64>,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

impl DiffArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let range = self.range()?;
        let client = session.client().await?;
        let from = version(&client, self.from).await?;
        let to = match self.to {
            Some(moment) => version(&client, moment).await?,
            None => client.now().await?,
        };
        let mut diff = client.table(&self.table).diff(range, from, to).start();
        let mut left = self.limit.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(difference) = diff.next().await else { break };
            session.printer.answer(&Told(difference?))?;
            left -= 1;
        }
        Ok(Ending::Done)
    }

    fn range(&self) -> Result<KeyRange, Failure> {
        if let Some(prefix) = &self.prefix {
            return Ok(prefix_range(self.syntax.parse("--prefix", prefix)?));
        }
        let parse = |what, key: &Option<String>| key.as_ref().map(|key| self.syntax.parse(what, key)).transpose();
        let (start, end) = (parse("--start", &self.start)?.unwrap_or_default(), parse("--end", &self.end)?);
        KeyRange::new(start, end)
            .map_err(|_| Failure::usage("--end is not above --start, so there is no key between them"))
    }
}

/// The version of a moment, by the cluster's clock.
async fn version(client: &Client, moment: Moment) -> Result<Version, Failure> {
    let now = if moment.needs_now() { client.now().await? } else { Version::MAX };
    moment.version(now).map_err(|error| Failure::usage(error.to_string()))
}

/// A difference as it is shown.
struct Told(Difference);

impl Told {
    const fn word(&self) -> &'static str {
        match (&self.0.from, &self.0.to) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some(_), Some(_)) => "changed",
        }
    }
}

impl Answer for Told {
    fn human(&self) -> String {
        let Difference { key, from, to } = &self.0;
        let key = Shown(key);
        match (from, to) {
            (Some(from), Some(to)) => format!("~ {key} = {} -> {}\n", Shown(&from.value), Shown(&to.value)),
            (Some(from), None) => format!("- {key} = {}\n", Shown(&from.value)),
            (None, to) => {
                let value = to.as_ref().map(|to| Shown(&to.value).to_string()).unwrap_or_default();
                format!("+ {key} = {value}\n")
            }
        }
    }

    /// What became of it, the key, and for each of the two versions: the one of the value, its end, the value.
    fn plain(&self) -> Vec<Vec<String>> {
        let fields = |value: &Option<Value>| match value {
            Some(value) => [
                value.version.0.to_string(),
                value.expires_unix_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                Strict(&value.value).to_string(),
            ],
            None => Default::default(),
        };
        let Difference { key, from, to } = &self.0;
        let head = [self.word().to_owned(), Strict(key).to_string()];
        vec![head.into_iter().chain(fields(from)).chain(fields(to)).collect()]
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("difference", self.word())?;
        bytes_member(&mut map, "key", &self.0.key)?;
        map.serialize_entry("from", &self.0.from.as_ref().map(Side))?;
        map.serialize_entry("to", &self.0.to.as_ref().map(Side))?;
        map.end()
    }
}

/// A value at one of the versions.
struct Side<'a>(&'a Value);

impl Serialize for Side<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        bytes_member(&mut map, "value", &self.0.value)?;
        map.serialize_entry("version", &version_text(self.0.version))?;
        map.serialize_entry("expires", &self.0.expires_unix_ms.map(rfc3339))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn differences_have_a_shape_in_each_format() {
        let value = |text: &'static str, version| Value {
            value: text.into(),
            version: Version(version),
            expires_unix_ms: None,
        };
        let told = |from, to| shapes_of(&Told(Difference { key: "a\t".into(), from, to }));
        assert_eq!(
            told(Some(value("1", 7)), Some(value("2", 9))),
            [
                "~ a\\t = 1 -> 2\n",
                "changed\ta\\t\t7\t\t1\t9\t\t2\n",
                "{\"difference\":\"changed\",\"key\":\"a\\t\",\"from\":{\"value\":\"1\",\"version\":\"7\",\"expires\":null},\
                 \"to\":{\"value\":\"2\",\"version\":\"9\",\"expires\":null}}\n"
            ]
        );
        assert_eq!(
            told(Some(value("1", 7)), None)[..2],
            ["- a\\t = 1\n".to_owned(), "removed\ta\\t\t7\t\t1\t\t\t\n".to_owned()]
        );
        let added = told(None, Some(Value { expires_unix_ms: Some(1_700_000_000_500), ..value("2", 9) }));
        assert_eq!(added[..2], ["+ a\\t = 2\n", "added\ta\\t\t\t\t\t9\t1700000000500\t2\n"].map(str::to_owned));
        let json = "{\"difference\":\"added\",\"key\":\"a\\t\",\"from\":null,\
                    \"to\":{\"value\":\"2\",\"version\":\"9\",\"expires\":\"2023-11-14T22:13:20.500Z\"}}\n";
        assert_eq!(added[2], json);
    }
}
