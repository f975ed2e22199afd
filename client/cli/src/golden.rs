//! Scripts of command lines: what is understood, and what is said of what is not. They are in client/cli/tests/scripts.
//!
//! `lentic "get t k --at v7"` shows the command that is run, or the error; arguments are split at blanks, and `␣` stands
//! for a blank in one.

use std::error::Error;

use clap::{CommandFactory as _, FromArgMatches as _};
use goldenscript::{Argument, Context, Runner};

use crate::cli::Cli;

fn words_of(command: &goldenscript::Command) -> Vec<String> {
    let word = |argument: &Argument| match argument {
        Argument::Positional(word) => word.clone(),
        other => panic!("expected words, found {other:?}"),
    };
    command.args.iter().map(word).collect()
}

struct Lines;

impl Runner for Lines {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Result<String, Box<dyn Error>> {
        assert_eq!(command.name, "lentic");
        let line = words_of(command).first().cloned().unwrap_or_default();
        let words = line.split_whitespace().map(|word| word.replace('␣', " "));
        let parsed =
            Cli::command().term_width(100).try_get_matches_from(["lentic".to_owned()].into_iter().chain(words));
        match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
            Ok(Cli { command, .. }) => Ok(format!("{command:?}")),
            Err(error) => Ok(format!("exit {}\n{error}", error.exit_code())),
        }
    }
}

#[test]
fn command_lines() {
    goldenscript::run(&mut Lines, "tests/scripts/command_lines").unwrap();
}

#[test]
fn the_help_is_as_recorded() {
    struct Help;
    impl Runner for Help {
        type Command = goldenscript::Command;

        fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Result<String, Box<dyn Error>> {
            let mut named = Cli::command().term_width(100);
            for word in words_of(command) {
                named = named.find_subcommand(word).ok_or("no such command")?.clone().term_width(100);
            }
            Ok(named.render_long_help().to_string())
        }
    }
    goldenscript::run(&mut Help, "tests/scripts/help").unwrap();
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}
