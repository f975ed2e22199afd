//! `lentic table drop`

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use clap::Args;
use serde::Serialize;

use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Outcome, Session};

#[derive(Clone, Debug, Args)]
pub(crate) struct DropArgs {
    /// The table's name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl DropArgs {
    pub(super) async fn run(&self, session: &mut Session) -> Outcome {
        if !self.yes && !self.is_confirmed()? {
            return Err(Failure::no(format!("table {} was not dropped", self.name)));
        }
        session.client().await?.drop_table(&self.name).await?;
        session.printer.answer(&Dropped { dropped: &self.name })?;
        Ok(Ending::Done)
    }

    /// Asks, if there is someone to ask.
    fn is_confirmed(&self) -> Result<bool, Failure> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            let message = format!("dropping table {} removes everything in it, and nobody is there to ask", self.name);
            return Err(Failure::usage(message).with_help("say --yes"));
        }
        let mut stderr = std::io::stderr();
        let question = format!("everything in table {} will be gone; type its name to drop it: ", self.name);
        let asked = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
        let mut answer = String::new();
        let answered = asked.and_then(|()| stdin.lock().take(4_096).read_line(&mut answer));
        answered.map_err(|error| Failure::file("stdin", &error))?;
        Ok(answer.trim() == self.name)
    }
}

#[derive(Serialize)]
struct Dropped<'a> {
    dropped: &'a str,
}

impl Answer for Dropped<'_> {
    fn human(&self) -> String {
        format!("table {} is gone\n", self.dropped)
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
    fn a_table_that_is_gone_is_named() {
        assert_eq!(shapes_of(&Dropped { dropped: "t" }), ["table t is gone\n", "t\n", "{\"dropped\":\"t\"}\n"]);
    }
}
