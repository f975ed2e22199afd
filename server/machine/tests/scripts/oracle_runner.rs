//! Plays scripts over an oracle and the window that a meta group replicates for it.
//!
//! ```text
//! lead at=2026             a new leader, whose clock shows this
//! take 3 at=2026.1s        takes ticks, without extending
//! wants at=2026.1s         asks for what should be extended ahead of need
//! extend [lost|untold]      has the last extension asked for applied, and tells the oracle
//! extend until=2026.5s     has another extension applied, as by another leader: the oracle is not told
//! serve 3 at=2026.1s       takes ticks, extending as often as is needed
//! ```

use std::error::Error;
use std::fmt::Write as _;

use goldenscript::Context;
use lentic_engine::{Batch, MemStore, Store as _};
use lentic_machine::oracle::{NoTicks, Oracle, Ticks};
use lentic_machine::{Meta, MetaCommand, MetaOutcome};
use lentic_types::{ClusterId, Version};

use crate::time::{self, Time};

/// How often a taker extends the window before it gives up: the longest leap that is followed takes two.
const EXTENSIONS_MAX: usize = 3;

type Output = Result<String, Box<dyn Error>>;

/// The commands.
#[derive(goldenscript::Command)]
pub(crate) enum Command {
    /// A new leader.
    Lead {
        #[arg(key)]
        at: Time,
    },

    /// Takes ticks.
    Take {
        count: u32,
        #[arg(key)]
        at: Time,
    },

    /// Takes ticks, extending the window as often as is needed.
    Serve {
        count: u32,
        #[arg(key)]
        at: Time,
    },

    /// Asks for an extension ahead of need.
    Wants {
        #[arg(key)]
        at: Time,
    },

    /// Extends the window.
    Extend {
        #[arg(key)]
        until: Option<Time>,
    },
}

/// A meta group and the oracle of its leader.
pub(crate) struct OracleRunner {
    meta: Meta,
    oracle: Option<Oracle>,
    asked: Option<Version>,
    newest: Version,
}

impl OracleRunner {
    pub(crate) fn new() -> Self {
        let (store, mut batch) = (MemStore::new(), Batch::new());
        Meta::create(&mut batch, ClusterId::default());
        store.write(&batch).expect("the store works");
        let meta = Meta::load(&store).expect("the store works").expect("it was created");
        Self { meta, oracle: None, asked: None, newest: Version::ZERO }
    }

    fn oracle(&mut self) -> Result<&mut Oracle, Box<dyn Error>> {
        self.oracle.as_mut().ok_or_else(|| "nobody leads".into())
    }

    /// Has the group apply an extension.
    fn extend(&mut self, until: Version, is_told: bool) -> Output {
        let applied = self.meta.apply(self.meta.applied().next(), Some(&MetaCommand::ExtendWindow { until }))?;
        Ok(match applied.reply {
            MetaOutcome::Window(end) => {
                if is_told {
                    self.oracle()?.extended(end);
                }
                format!("window {}\n", time::tick(end))
            }
            MetaOutcome::Refused(refusal) => format!("refused {}: {refusal}\n", refusal.kind().word()),
            other => return Err(format!("told {other:?}").into()),
        })
    }

    fn take(&mut self, count: u32, at: Time) -> Result<String, NoTicks> {
        let window_end = self.meta.window_end();
        let oracle = self.oracle.as_mut().expect("somebody leads");
        let Ticks { first, count } = oracle.take(count, at.unix_ms())?;
        let last = Ticks { first, count }.iter().last().unwrap_or(self.newest);
        assert!(first > self.newest && last < window_end, "ticks rise, below the replicated end");
        self.newest = last;
        let ticks =
            if count > 1 { format!("{} to {}", time::tick(first), time::tick(last)) } else { time::tick(first) };
        Ok(ticks + &self.clock())
    }

    fn clock(&self) -> String {
        let ahead = self.oracle.as_ref().and_then(Oracle::clock_ahead_ms);
        ahead.map_or_else(String::new, |ahead| format!(", clock ahead by {}", span(ahead)))
    }
}

/// Prints a span of time.
fn span(ms: u64) -> String {
    let day = 24 * 60 * 60 * 1000;
    format!("{} d {} ms", ms / day, ms % day)
}

impl goldenscript::Runner for OracleRunner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Output {
        match command {
            Command::Lead { at } => {
                self.oracle = Some(Oracle::lead(self.meta.window_end(), at.unix_ms()));
                Ok(format!("from {}{}\n", time::tick(self.meta.window_end()), self.clock()))
            }
            Command::Take { count, at } => {
                self.oracle()?;
                Ok(match self.take(*count, *at) {
                    Ok(ticks) => format!("{ticks}\n"),
                    Err(NoTicks::NeedsWindow { until }) => {
                        self.asked = Some(until);
                        format!("needs window {}{}\n", time::tick(until), self.clock())
                    }
                    Err(error) => format!("{error}\n"),
                })
            }
            Command::Serve { count, at } => {
                self.oracle()?;
                let mut out = String::new();
                for _ in 0..EXTENSIONS_MAX {
                    match self.take(*count, *at) {
                        Ok(ticks) => {
                            writeln!(out, "{ticks}")?;
                            return Ok(out);
                        }
                        Err(NoTicks::NeedsWindow { until }) => out += &self.extend(until, true)?,
                        Err(error) => return Ok(format!("{out}{error}\n")),
                    }
                }
                Err(format!("{out}and still no ticks").into())
            }
            Command::Wants { at } => {
                self.asked = self.oracle()?.wants_extension(at.unix_ms());
                Ok(self.asked.map_or_else(|| "nothing".to_owned(), time::tick) + &self.clock() + "\n")
            }
            Command::Extend { until: Some(until) } => self.extend(until.tick(), false),
            Command::Extend { until: None } => {
                let until = self.asked.take().ok_or("nothing was asked for")?;
                if context.tags.contains("lost") {
                    return Ok("lost\n".to_owned());
                }
                self.extend(until, !context.tags.contains("untold"))
            }
        }
    }
}
