//! `lentic snapshot list`

use clap::Args;
use serde::Serialize;

use super::row::SnapshotRow;
use crate::ending::Ending;
use crate::output::{Align, Answer, Table};
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct ListSnapshotsArgs {
    /// Those of one table only
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
}

impl ListSnapshotsArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        let found = session.client().await?.list_snapshots(self.table.as_deref()).await?;
        session.printer.answer(&Snapshots { snapshots: found.iter().map(SnapshotRow::new).collect() })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Snapshots {
    snapshots: Vec<SnapshotRow>,
}

impl Answer for Snapshots {
    fn human(&self) -> String {
        if self.snapshots.is_empty() {
            return "there are no snapshots; make one with `lentic snapshot create NAME TABLE`\n".to_owned();
        }
        let columns = ["NAME", "VERSION", "TIME", "EXPIRES", "OWNER", "TABLES"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        self.snapshots.iter().for_each(|row| table.push(row.cells()));
        table.rendered()
    }

    fn plain(&self) -> Vec<Vec<String>> {
        self.snapshots.iter().flat_map(Answer::plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use lentic_client::Version;

    use super::*;
    use crate::commands::snapshot::row::tests::entry;
    use crate::output::shapes_of;

    #[test]
    fn snapshots_are_listed() {
        let two = [entry("one", None), entry("two", Version::tick(1_001, 0))];
        let [human, plain, json] = shapes_of(&Snapshots { snapshots: two.iter().map(SnapshotRow::new).collect() });
        assert_eq!(
            human,
            "NAME  VERSION   TIME                      EXPIRES                   OWNER  TABLES\n\
             one   v4194304  2020-01-01T00:00:00.001Z  never                     -      default.a jobs.b\n\
             two   v4194304  2020-01-01T00:00:00.001Z  2020-01-01T00:00:01.001Z  ann    default.a jobs.b\n"
        );
        assert_eq!(plain.lines().count(), 2);
        assert!(json.starts_with("{\"snapshots\":[{\"name\":\"one\","), "{json}");
        let [human, rows, json] = shapes_of(&Snapshots { snapshots: Vec::new() });
        assert_eq!((&*rows, &*json), ("", "{\"snapshots\":[]}\n"));
        assert!(human.starts_with("there are no snapshots"));
    }
}
