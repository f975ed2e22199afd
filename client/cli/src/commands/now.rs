//! `lentic now`

use clap::Args;
use lentic_client::Version;
use serde::Serialize;

use crate::ending::Ending;
use crate::output::{Answer, version_text};
use crate::session::{Outcome, Session};
use crate::text::time_of;

/// Show a version that names this moment: above every write that is done, below every one that begins later
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct NowArgs {}

impl NowArgs {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let now = session.client().await?.now().await?;
        session.printer.answer(&Now::at(now))?;
        Ok(Ending::Done)
    }
}

#[derive(Serialize)]
struct Now {
    version: String,
    time: String,
}

impl Now {
    fn at(version: Version) -> Self {
        Self { version: version_text(version), time: time_of(version) }
    }
}

impl Answer for Now {
    fn human(&self) -> String {
        format!("v{}\n", self.version)
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![format!("v{}", self.version), self.time.clone()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn now_is_a_version_and_a_time() {
        let [human, plain, json] = shapes_of(&Now::at(Version::tick(1, 0).unwrap()));
        assert_eq!((&*human, &*plain), ("v4194304\n", "v4194304\t2020-01-01T00:00:00.001Z\n"));
        assert_eq!(json, "{\"version\":\"4194304\",\"time\":\"2020-01-01T00:00:00.001Z\"}\n");
    }
}
