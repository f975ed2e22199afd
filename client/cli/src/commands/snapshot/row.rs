//! A snapshot, as `create`, `show` and `list` answer.

use lentic_client::PinEntry;
use serde::Serialize;

use crate::output::{Answer, version_text};
use crate::text::time_of;

/// A snapshot.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SnapshotRow {
    name: String,
    /// The number of its pin.
    pin: u64,
    tables: Vec<String>,
    version: String,
    time: String,
    owner: String,
    /// When it goes by itself; `None`: when it is dropped.
    expires: Option<String>,
}

impl SnapshotRow {
    pub(super) fn new(pin: &PinEntry) -> Self {
        Self {
            name: pin.name.clone(),
            pin: pin.pin.0,
            tables: pin.spans.iter().map(|(table, _)| table.clone()).collect(),
            version: version_text(pin.version),
            time: time_of(pin.version),
            owner: pin.owner.clone(),
            expires: pin.expires.map(time_of),
        }
    }

    /// Name, version, time, end, owner, tables.
    pub(super) fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            format!("v{}", self.version),
            self.time.clone(),
            self.expires.clone().unwrap_or_else(|| "never".to_owned()),
            if self.owner.is_empty() { "-".to_owned() } else { self.owner.clone() },
            self.tables.join(" "),
        ]
    }
}

impl Answer for SnapshotRow {
    fn human(&self) -> String {
        let Self { name, version, time, tables, owner, .. } = self;
        let until =
            self.expires.as_ref().map_or_else(|| "until it is dropped".to_owned(), |end| format!("until {end}"));
        let by = if owner.is_empty() { String::new() } else { format!(", made by {owner}") };
        format!("snapshot {name} of {} at v{version} ({time}), kept {until}{by}\n", tables.join(", "))
    }

    /// Name, pin, version, time, end, owner, tables.
    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.name.clone(),
            self.pin.to_string(),
            format!("v{}", self.version),
            self.time.clone(),
            self.expires.clone().unwrap_or_default(),
            self.owner.clone(),
            self.tables.join(","),
        ]]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use lentic_client::{KeyRange, PinId, PinKind, Version};

    use super::*;
    use crate::output::shapes_of;

    pub(in crate::commands::snapshot) fn entry(name: &str, expires: Option<Version>) -> PinEntry {
        let version = Version::tick(1, 0).unwrap();
        PinEntry {
            pin: PinId(7),
            kind: PinKind::Snapshot,
            name: name.to_owned(),
            owner: if expires.is_some() { "ann".to_owned() } else { String::new() },
            spans: ["default.a", "jobs.b"].map(|table| (table.to_owned(), KeyRange::all())).into(),
            version,
            created: version,
            expires,
        }
    }

    #[test]
    fn a_snapshot_is_shown_with_its_end() {
        let [human, plain, json] = shapes_of(&SnapshotRow::new(&entry("s", Version::tick(1_001, 0))));
        assert_eq!(
            human,
            "snapshot s of default.a, jobs.b at v4194304 (2020-01-01T00:00:00.001Z), kept until 2020-01-01T00:00:01.001Z, \
             made by ann\n"
        );
        let time = "2020-01-01T00:00:00.001Z";
        assert_eq!(plain, format!("s\t7\tv4194304\t{time}\t2020-01-01T00:00:01.001Z\tann\tdefault.a,jobs.b\n"));
        assert_eq!(
            json,
            "{\"name\":\"s\",\"pin\":7,\"tables\":[\"default.a\",\"jobs.b\"],\"version\":\"4194304\",\
             \"time\":\"2020-01-01T00:00:00.001Z\",\"owner\":\"ann\",\"expires\":\"2020-01-01T00:00:01.001Z\"}\n"
        );
        let [human, ..] = shapes_of(&SnapshotRow::new(&entry("s", None)));
        assert!(human.ends_with("kept until it is dropped\n"), "{human}");
    }
}
