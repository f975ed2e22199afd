//! `lentic version`

use clap::Args;
use serde::Serialize;

use crate::ending::Ending;
use crate::output::Answer;
use crate::session::{Outcome, Session};

/// Show the release of this program
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct VersionArgs {}

impl VersionArgs {
    pub(crate) fn run(self, session: &mut Session) -> Outcome {
        session.printer.answer(&Release { release: env!("CARGO_PKG_VERSION") })?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Release {
    release: &'static str,
}

impl Answer for Release {
    fn human(&self) -> String {
        format!("lentic {}\n", self.release)
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.release.to_owned()]]
    }
}
