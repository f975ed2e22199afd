//! `lentic table list`

use clap::Args;
use serde::Serialize;

use super::described::TableRow;
use crate::ending::Ending;
use crate::output::{Align, Answer, Table};
use crate::session::{Outcome, Session};

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListArgs {}

impl ListArgs {
    pub(super) async fn run(self, session: &mut Session) -> Outcome {
        let tables = session.client().await?.list_tables().await?;
        session.printer.answer(&Tables { tables: tables.iter().map(TableRow::new).collect() })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Tables {
    tables: Vec<TableRow>,
}

impl Answer for Tables {
    fn human(&self) -> String {
        if self.tables.is_empty() {
            return "there are no tables; create one with `lentic table create NAME`\n".to_owned();
        }
        let columns = ["NAME", "TABLE", "RETENTION", "REPLICAS", "TTL"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        self.tables.iter().for_each(|row| table.push(row.cells()));
        table.rendered()
    }

    fn plain(&self) -> Vec<Vec<String>> {
        self.tables.iter().map(TableRow::plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use lentic_client::{TableEntry, TableId, TableOptions};
    use std::time::Duration;

    #[test]
    fn tables_are_listed_with_their_options() {
        let plain = TableEntry { table: TableId(1), name: "default.a".to_owned(), options: TableOptions::default() };
        let retention = Some(Duration::from_secs(90_000));
        let options =
            TableOptions { retention, replicas: 5, ttl: Some(Duration::from_secs(90)), ..TableOptions::default() };
        let kept = TableEntry { table: TableId(2), name: "jobs.clicks".to_owned(), options };
        let [human, rows, json] = shapes_of(&Tables { tables: [plain, kept].iter().map(TableRow::new).collect() });
        assert_eq!(
            human,
            "NAME         TABLE  RETENTION  REPLICAS  TTL\n\
             default.a    t1     default    default   none\n\
             jobs.clicks  t2     1d1h       5         1m30s\n"
        );
        assert_eq!(rows, "default.a\t1\t\t\t\njobs.clicks\t2\t90000000\t5\t90000\n");
        assert_eq!(
            json,
            "{\"tables\":[{\"table\":1,\"name\":\"default.a\",\"retention_ms\":null,\"replicas\":null,\"ttl_ms\":null},\
             {\"table\":2,\"name\":\"jobs.clicks\",\"retention_ms\":90000000,\"replicas\":5,\"ttl_ms\":90000}]}\n"
        );
        let [human, rows, json] = shapes_of(&Tables { tables: Vec::new() });
        assert_eq!((&*rows, &*json), ("", "{\"tables\":[]}\n"));
        assert!(human.starts_with("there are no tables"));
    }
}
