//! `lentic completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::ending::Ending;
use crate::session::{Outcome, Session};

/// Write a script that completes commands and options in a shell: source <(lentic completions bash)
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, session: &mut Session) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lentic", &mut script);
        session.printer.bytes(&script)?;
        Ok(Ending::Done)
    }
}
