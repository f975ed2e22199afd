//! `lentic snapshot drop`

use clap::Args;
use serde::Serialize;

use crate::ending::Ending;
use crate::output::Answer;
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct DropSnapshotArgs {
    /// The snapshot's name
    name: String,
}

impl DropSnapshotArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        session.client().await?.drop_snapshot(&self.name).await?;
        session.printer.answer(&Dropped { dropped: &self.name })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Dropped<'a> {
    dropped: &'a str,
}

impl Answer for Dropped<'_> {
    fn human(&self) -> String {
        format!("snapshot {} is gone\n", self.dropped)
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.dropped.to_owned()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_snapshot_that_is_gone_is_named() {
        assert_eq!(shapes_of(&Dropped { dropped: "s" }), ["snapshot s is gone\n", "s\n", "{\"dropped\":\"s\"}\n"]);
    }
}
