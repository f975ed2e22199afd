//! What workloads begin with: tables of their own, and the rows that they put there first.

use bytes::Bytes;
use lentic_client::{ErrorKind, TableOptions, Transaction, WriteBatch};

use super::{Done, Step, World};
use crate::tally::Style;

impl World {
    /// Makes a workload's own table, which has its name. `false` if the world was over before.
    ///
    /// # Panics
    /// If it fails as it may not.
    pub(crate) async fn make(&self, workload: &'static str, options: &TableOptions) -> bool {
        while !self.is_over() {
            let client = self.client();
            let work = async { client.create_table(workload, options.clone()).await };
            let step = Step::new(workload, Style::OneShot, "create", workload);
            if self.run(step, work, |_| workload.into()).await.ok().is_some() {
                return true;
            }
            self.pause().await;
        }
        false
    }

    /// Puts what a workload begins with into the table of all, once, however often it must be sent. `false` if the world
    /// was over before.
    ///
    /// # Panics
    /// If it fails as it may not.
    pub(crate) async fn open(&self, workload: &'static str, rows: Vec<(Bytes, Vec<u8>)>) -> bool {
        self.open_in(workload, self.table_name(), rows).await
    }

    /// The same in the table of this name.
    ///
    /// # Panics
    /// If it fails as it may not.
    pub(crate) async fn open_in(&self, workload: &'static str, table: &str, rows: Vec<(Bytes, Vec<u8>)>) -> bool {
        let batch = rows
            .into_iter()
            .fold(WriteBatch::new(), |batch, (key, value)| batch.if_absent(key.clone()).put(key, value));
        let open = Transaction::new().with(table, batch);
        let mut may_be_there = false;
        loop {
            let step = Step::new(workload, Style::Conditional, "open", workload);
            let client = self.client();
            match self.write(step, client.commit(open.clone())).await {
                Done::Ok(_) => return true,
                // An earlier sending, of which nobody knew.
                Done::Refused(error) if error.kind() == ErrorKind::ConditionFailed => {
                    assert!(may_be_there, "{workload}: what only it writes is there before it has begun: {error}");
                    return true;
                }
                Done::Refused(_) | Done::Unknown if self.is_over() => return false,
                Done::Refused(_) => {}
                Done::Unknown => may_be_there = true,
            }
            self.pause().await;
        }
    }
}
