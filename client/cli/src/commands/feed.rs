//! `lentic feed`

use std::io::Write as _;
use std::str::FromStr;

use clap::Args;
use lentic_client::{Client, Feed, FeedChange, FeedEvent, FeedStart, FeedToken, Version};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::args::{RangeArgs, SyntaxArgs};
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Answer, Format, bytes_member, version_text};
use crate::session::{Outcome, Session};
use crate::text::{Moment, Shown, Strict, rfc3339};

/// Show what is committed to a range of keys, in order: of the past and as it happens
///
/// It ends at Ctrl-C, or as asked for, and tells on stderr how to go on from there.
#[derive(Clone, Debug, Args)]
pub(crate) struct FeedArgs {
    /// The table
    table: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Begin behind a version (v123) or a time, so long ago (-10m), now, or where a token says
    #[arg(long, value_name = "MOMENT|TOKEN", default_value = "now", allow_hyphen_values = true)]
    since: Since,
    /// End after so many commits and rollbacks
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// End when everything up to a moment was told
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Show also up to which versions everything was told
    #[arg(long)]
    resolved: bool,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

/// Where to begin.
#[derive(Clone, Debug)]
enum Since {
    Now,
    Moment(Moment),
    Token(Box<FeedToken>),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if text.starts_with("feed") {
            let token: FeedToken = text.parse().map_err(|error: lentic_client::Error| error.message().to_owned())?;
            return Ok(Self::Token(Box::new(token)));
        }
        text.parse().map(Self::Moment).map_err(|error| format!("{error}; or now, or a token that a feed has told"))
    }
}

impl FeedArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let client = session.client().await?;
        let table = client.table(&self.table);
        let builder = match &self.since {
            Since::Token(token) if self.range.is_all() => table.resume((**token).clone()),
            Since::Token(token) => table.subscribe(self.range.range(self.syntax)?).from((**token).clone()),
            Since::Now => table.subscribe(self.range.range(self.syntax)?).from(FeedStart::Now),
            Since::Moment(moment) => {
                let since = version(&client, *moment).await?;
                table.subscribe(self.range.range(self.syntax)?).from(since)
            }
        };
        let until = match self.until {
            Some(moment) => Some(version(&client, moment).await?),
            None => None,
        };
        let mut feed = builder.start();
        let ended = self.show(session, &mut feed, until).await;
        session.printer.flush()?;
        if let Some(token) = feed.token() {
            // Who cannot hear it needs no token.
            let _ = std::io::stderr().write_all(how_to_go_on(&token, session.printer.format()).as_bytes());
        }
        ended.map(|()| Ending::Done)
    }

    /// Shows events until it is enough.
    async fn show(&self, session: &mut Session, feed: &mut Feed, until: Option<Version>) -> Result<(), Failure> {
        let (mut interrupt, mut left) = (Interrupt::listen()?, self.limit.unwrap_or(u64::MAX));
        while left > 0 {
            let event = tokio::select! {
                biased;
                () = interrupt.asked() => return Ok(()),
                event = feed.next() => event,
            };
            let Some(event) = event else { return Ok(()) };
            let event = event?;
            let FeedEvent::Resolved(version) = event else {
                session.printer.answer(&Told(event))?;
                left -= 1;
                continue;
            };
            if self.resolved {
                session.printer.answer(&Told(event))?;
            }
            // Now everything that was told is out, and it may be a while until there is more.
            session.printer.flush()?;
            if until.is_some_and(|until| version >= until) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The version of a moment, by the cluster's clock.
async fn version(client: &Client, moment: Moment) -> Result<Version, Failure> {
    let now = if moment.needs_now() { client.now().await? } else { Version::MAX };
    moment.version(now).map_err(|error| Failure::usage(error.to_string()))
}

fn how_to_go_on(token: &FeedToken, format: Format) -> String {
    match format {
        Format::Json => format!("{{\"token\":\"{token}\"}}\n"),
        Format::Human | Format::Plain => format!("go on with --since {token}\n"),
    }
}

/// An event as it is shown.
struct Told(FeedEvent);

impl Answer for Told {
    fn human(&self) -> String {
        match &self.0 {
            FeedEvent::Change(FeedChange { key, version, value: Some(value), .. }) => {
                format!("{version}  {} = {}\n", Shown(key), Shown(value))
            }
            FeedEvent::Change(FeedChange { key, version, .. }) => format!("{version}  {} is deleted\n", Shown(key)),
            FeedEvent::RolledBack { range, to, version } => {
                let end = range.end().map(|end| format!(" before {}", Shown(end))).unwrap_or_default();
                format!("{version}  keys from {}{end} are as at {to} again\n", Shown(range.start()))
            }
            FeedEvent::Resolved(version) => format!("{version}  is resolved\n"),
        }
    }

    fn plain(&self) -> Vec<Vec<String>> {
        let strict = |bytes: &[u8]| Strict(bytes).to_string();
        vec![match &self.0 {
            FeedEvent::Change(FeedChange { key, version, value: Some(value), expires_unix_ms }) => {
                let end = expires_unix_ms.map(|ms| ms.to_string()).unwrap_or_default();
                vec!["put".to_owned(), version.to_string(), strict(key), end, strict(value)]
            }
            FeedEvent::Change(FeedChange { key, version, .. }) => {
                vec!["delete".to_owned(), version.to_string(), strict(key)]
            }
            FeedEvent::RolledBack { range, to, version } => {
                let end = range.end().map(|end| strict(end)).unwrap_or_default();
                vec!["rolled_back".to_owned(), version.to_string(), to.to_string(), strict(range.start()), end]
            }
            FeedEvent::Resolved(version) => vec!["resolved".to_owned(), version.to_string()],
        }]
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0 {
            FeedEvent::Change(FeedChange { key, version, value, expires_unix_ms }) => {
                map.serialize_entry("event", if value.is_some() { "put" } else { "delete" })?;
                map.serialize_entry("version", &version_text(*version))?;
                bytes_member(&mut map, "key", key)?;
                if let Some(value) = value {
                    bytes_member(&mut map, "value", value)?;
                    map.serialize_entry("expires", &expires_unix_ms.map(rfc3339))?;
                }
            }
            FeedEvent::RolledBack { range, to, version } => {
                map.serialize_entry("event", "rolled_back")?;
                map.serialize_entry("version", &version_text(*version))?;
                map.serialize_entry("to", &version_text(*to))?;
                bytes_member(&mut map, "start", range.start())?;
                if let Some(end) = range.end() {
                    bytes_member(&mut map, "end", end)?;
                }
            }
            FeedEvent::Resolved(version) => {
                map.serialize_entry("event", "resolved")?;
                map.serialize_entry("version", &version_text(*version))?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use lentic_client::KeyRange;

    #[test]
    fn events_have_a_shape_in_each_format() {
        let change = |value: Option<&'static str>, expires_unix_ms| {
            let value = value.map(Into::into);
            FeedEvent::Change(FeedChange { key: "a\t".into(), version: Version(7), value, expires_unix_ms })
        };
        let rows = [
            (change(Some("1"), None), "v7  a\\t = 1\n", "put\tv7\ta\\t\t\t1\n"),
            (change(Some("1"), Some(9)), "v7  a\\t = 1\n", "put\tv7\ta\\t\t9\t1\n"),
            (change(None, None), "v7  a\\t is deleted\n", "delete\tv7\ta\\t\n"),
            (FeedEvent::Resolved(Version(8)), "v8  is resolved\n", "resolved\tv8\n"),
        ];
        for (event, human, plain) in rows {
            let [found_human, found_plain, _] = shapes_of(&Told(event));
            assert_eq!((&*found_human, &*found_plain), (human, plain));
        }
        let range = KeyRange::new("b", Some("c")).unwrap();
        let back = FeedEvent::RolledBack { range, to: Version(3), version: Version(9) };
        assert_eq!(
            shapes_of(&Told(back)),
            [
                "v9  keys from b before c are as at v3 again\n",
                "rolled_back\tv9\tv3\tb\tc\n",
                "{\"event\":\"rolled_back\",\"version\":\"9\",\"to\":\"3\",\"start\":\"b\",\"end\":\"c\"}\n"
            ]
        );
        let json = shapes_of(&Told(change(Some("1"), Some(1_700_000_000_500))))[2].clone();
        let expected = "{\"event\":\"put\",\"version\":\"7\",\"key\":\"a\\t\",\"value\":\"1\",\
                        \"expires\":\"2023-11-14T22:13:20.500Z\"}\n";
        assert_eq!(json, expected);
        assert_eq!(
            shapes_of(&Told(change(None, None)))[2],
            "{\"event\":\"delete\",\"version\":\"7\",\"key\":\"a\\t\"}\n"
        );
    }

    #[test]
    fn where_to_begin_is_read_or_refused() {
        assert!(matches!("now".parse(), Ok(Since::Now)));
        assert!(matches!("v12".parse(), Ok(Since::Moment(Moment::Version(Version(12))))));
        assert!("feed1-00".parse::<Since>().unwrap_err().contains("token"));
        assert!("soon".parse::<Since>().unwrap_err().contains("or now"));
    }
}
