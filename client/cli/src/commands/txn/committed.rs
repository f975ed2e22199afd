//! What a transaction that has committed answers.

use lentic_client::Version;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::output::{Align, Answer, ShownRow, Table, version_text};
use crate::text::Shown;

/// What a statement has read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// The statement, from 0.
    pub(super) number: usize,
    pub(super) table: String,
    pub(super) found: Found,
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Key(ShownRow),
    Rows(Vec<ShownRow>),
}

impl Found {
    fn rows(&self) -> &[ShownRow] {
        match self {
            Self::Key(row) => std::slice::from_ref(row),
            Self::Rows(rows) => rows,
        }
    }

    fn rows_mut(&mut self) -> &mut [ShownRow] {
        match self {
            Self::Key(row) => std::slice::from_mut(row),
            Self::Rows(rows) => rows,
        }
    }
}

/// The version of a transaction, and what it has read.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    version: Version,
    reads: Vec<Read>,
}

impl Committed {
    /// What the transaction itself had written when it was read is told with the version that it has by now.
    pub(super) fn new(version: Version, mut reads: Vec<Read>) -> Self {
        let rows = reads.iter_mut().flat_map(|read| read.found.rows_mut());
        let own = rows.filter_map(|row| row.value.as_mut()).filter(|value| value.version == Version::MAX);
        own.for_each(|value| value.version = version);
        Self { version, reads }
    }

    fn rows(&self) -> impl Iterator<Item = (&Read, &ShownRow)> {
        self.reads.iter().flat_map(|read| read.found.rows().iter().map(move |row| (read, row)))
    }
}

impl Answer for Committed {
    fn human(&self) -> String {
        let mut table = Table::new(&[("TABLE", Align::Left), ("KEY", Align::Left), ("VALUE", Align::Left)]);
        for (read, row) in self.rows() {
            let value =
                row.value.as_ref().map_or_else(|| "(no value)".to_owned(), |value| Shown(&value.value).to_string());
            table.push(vec![Shown(read.table.as_bytes()).to_string(), Shown(&row.key).to_string(), value]);
        }
        let rows = if table.len() > 0 { table.rendered() } else { String::new() };
        format!("{rows}committed at {}\n", self.version)
    }

    /// The outcome with the version; then a line for each row, with its statement and its table.
    fn plain(&self) -> Vec<Vec<String>> {
        let row = |(read, row): (&Read, &ShownRow)| {
            let place = ["row".to_owned(), read.number.to_string(), read.table.clone()];
            place.into_iter().chain(row.plain()).collect()
        };
        let outcome = vec!["committed".to_owned(), self.version.to_string()];
        [outcome].into_iter().chain(self.rows().map(row)).collect()
    }
}

impl Serialize for Committed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("outcome", "committed")?;
        map.serialize_entry("version", &version_text(self.version))?;
        map.serialize_entry("reads", &self.reads)?;
        map.end()
    }
}

impl Serialize for Read {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("statement", &self.number)?;
        map.serialize_entry("table", &self.table)?;
        match &self.found {
            Found::Key(row) => row.members(&mut map)?,
            Found::Rows(rows) => map.serialize_entry("rows", rows)?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use lentic_client::Value;

    fn row(key: &str, value: Option<(&'static str, u64)>) -> ShownRow {
        let value = value.map(|(value, version)| Value {
            value: value.into(),
            version: Version(version),
            expires_unix_ms: None,
        });
        ShownRow { key: key.into(), value }
    }

    #[test]
    fn a_commit_tells_its_version_and_what_it_has_read() {
        let none = Committed::new(Version(7), Vec::new());
        assert_eq!(
            shapes_of(&none),
            ["committed at v7\n", "committed\tv7\n", "{\"outcome\":\"committed\",\"version\":\"7\",\"reads\":[]}\n"]
        );
        let read = |number, found| Read { number, table: "t".to_owned(), found };
        let rows = vec![row("b", Some(("x", 3))), row("c", Some(("own", u64::MAX)))];
        let reads =
            vec![read(0, Found::Key(row("a", None))), read(2, Found::Rows(rows)), read(3, Found::Rows(Vec::new()))];
        let [human, plain, json] = shapes_of(&Committed::new(Version(7), reads));
        assert_eq!(
            human,
            "TABLE  KEY  VALUE\nt      a    (no value)\nt      b    x\nt      c    own\ncommitted at v7\n"
        );
        assert_eq!(plain, "committed\tv7\nrow\t0\tt\ta\t\t\t\nrow\t2\tt\tb\tv3\t\tx\nrow\t2\tt\tc\tv7\t\town\n");
        assert_eq!(
            json,
            "{\"outcome\":\"committed\",\"version\":\"7\",\"reads\":[{\"statement\":0,\"table\":\"t\",\"key\":\"a\",\
             \"found\":false},{\"statement\":2,\"table\":\"t\",\"rows\":[{\"key\":\"b\",\"found\":true,\"value\":\"x\",\
             \"version\":\"3\",\"expires\":null},{\"key\":\"c\",\"found\":true,\"value\":\"own\",\"version\":\"7\",\
             \"expires\":null}]},{\"statement\":3,\"table\":\"t\",\"rows\":[]}]}\n"
        );
    }
}
