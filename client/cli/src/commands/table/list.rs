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
        let columns = ["NAME", "TABLE", "RETENTION", "REPLICAS", "TTL", "BRANCH OF"].map(|name| (name, Align::Left));
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
    use lentic_client::{BranchOf, TableEntry, TableId, TableOptions, Version};
    use std::time::Duration;

    #[test]
    fn tables_are_listed_with_their_options() {
        let plain = TableEntry {
            table: TableId(1),
            name: "default.a".to_owned(),
            options: TableOptions::default(),
            branch_of: None,
        };
        let retention = Some(Duration::from_secs(90_000));
        let options =
            TableOptions { retention, replicas: 5, ttl: Some(Duration::from_secs(90)), ..TableOptions::default() };
        let kept = TableEntry { table: TableId(2), name: "jobs.clicks".to_owned(), options, branch_of: None };
        let branch_of = Some(BranchOf { name: "default.a".to_owned(), version: Version(7) });
        let branch = TableEntry { table: TableId(3), name: "default.b".to_owned(), branch_of, ..plain.clone() };
        let [human, rows, json] =
            shapes_of(&Tables { tables: [plain, kept, branch].iter().map(TableRow::new).collect() });
        assert_eq!(
            human,
            "NAME         TABLE  RETENTION  REPLICAS  TTL    BRANCH OF\n\
             default.a    t1     default    default   none\n\
             jobs.clicks  t2     1d1h       5         1m30s\n\
             default.b    t3     default    default   none   default.a at v7\n"
        );
        assert_eq!(
            rows,
            "default.a\t1\t\t\t\t\t\njobs.clicks\t2\t90000000\t5\t90000\t\t\ndefault.b\t3\t\t\t\tdefault.a\t7\n"
        );
        assert_eq!(
            json,
            "{\"tables\":[{\"table\":1,\"name\":\"default.a\",\"retention_ms\":null,\"replicas\":null,\"ttl_ms\":null,\
             \"branch_of\":null},\
             {\"table\":2,\"name\":\"jobs.clicks\",\"retention_ms\":90000000,\"replicas\":5,\"ttl_ms\":90000,\
             \"branch_of\":null},\
             {\"table\":3,\"name\":\"default.b\",\"retention_ms\":null,\"replicas\":null,\"ttl_ms\":null,\
             \"branch_of\":{\"name\":\"default.a\",\"version\":7}}]}\n"
        );
        let [human, rows, json] = shapes_of(&Tables { tables: Vec::new() });
        assert_eq!((&*rows, &*json), ("", "{\"tables\":[]}\n"));
        assert!(human.starts_with("there are no tables"));
    }
}
