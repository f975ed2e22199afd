//! From the sources to a configuration: defaults, then the file, then the environment, then arguments.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin, show};
use super::knob::{Given, Wrong};
use super::nearest::nearest;
use super::tree::{Config, PLACE, key_of};

/// How the variables of a node begin.
const PREFIX: &str = "LENTIC_";
/// Between section and name in a variable.
const SEPARATOR: &str = "__";
/// Largest configuration file in bytes: many times the largest that makes sense.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the values of knobs come from. Later ones win: file, environment, arguments.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables, all of them: `LENTIC_LISTEN` is `listen`, `LENTIC_STORE__MEMTABLE_BYTES` is
    /// `store.memtable_bytes`.
    pub environment: Vec<(String, String)>,
    /// Variables with our prefix that are somebody else's.
    pub foreign_variables: BTreeSet<String>,
    /// Arguments of the command line.
    pub arguments: Vec<Argument>,
}

/// A knob that was set by an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The argument, as messages name it: `--listen`.
    pub name: String,
    /// The key.
    pub key: String,
    /// The value, as in an environment variable.
    pub value: String,
}

impl Config {
    /// Reads the sources and checks the result.
    ///
    /// # Errors
    /// The first thing that is wrong, and where it stands. Nothing is guessed, and nothing that is not known passes.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let config = Self::read(sources)?;
        config.check()?;
        Ok(config)
    }

    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = &sources.file {
            let text = read_file(path)?;
            config.set_from_file(path, &text)?;
        }
        for (variable, value) in &sources.environment {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if sources.foreign_variables.contains(variable) || is_of_kubernetes(name) {
                continue;
            }
            let key = name.to_lowercase().replace(SEPARATOR, ".");
            config.set_or_tell(&key, &Given::Text(value), || Origin::Environment { variable: variable.clone() })?;
        }
        for Argument { name, key, value } in &sources.arguments {
            config.set_or_tell(key, &Given::Text(value), || Origin::Argument { name: name.clone() })?;
        }
        Ok(config)
    }

    fn set_from_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_at = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        let document = DeTable::parse(text).map_err(|error| {
            let line = line_at(error.span().map_or(0, |span| span.start));
            ConfigError::Syntax { path: path.to_path_buf(), line, reason: error.message().trim().replace('\n', ", ") }
        })?;
        for ((section, name), value, offset) in leaves(document.get_ref()) {
            let origin = || Origin::File { path: path.to_path_buf(), line: line_at(offset) };
            self.set_or_tell(&key_of(&section, &name), &Given::Toml(value), origin)?;
        }
        Ok(())
    }

    fn set_or_tell(
        &mut self,
        key: &str,
        given: &Given<'_>,
        origin: impl FnOnce() -> Origin,
    ) -> Result<(), ConfigError> {
        match self.set(key, given) {
            Some(Ok(())) => Ok(()),
            Some(Err(Wrong { expected, found })) => {
                Err(ConfigError::Wrong { key: key.to_owned(), origin: origin(), expected, found })
            }
            None => {
                let keys = self.keys();
                let sections = self.sections().map(|(name, _, _)| name);
                let known = keys.iter().map(|(key, _)| key.as_str()).chain(sections.into_iter().skip(1));
                if self.sections().iter().any(|(name, _, _)| !key.is_empty() && *name == key) {
                    return Err(ConfigError::Section { key: key.to_owned(), origin: origin() });
                }
                let nearest = nearest(key, known).expect("there are keys").to_owned();
                let key = show(key).trim_matches('"').to_owned();
                Err(ConfigError::Unknown { key, origin: origin(), nearest })
            }
        }
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let failed = |reason: String| ConfigError::Read { path: path.to_path_buf(), reason };
    let bytes = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(failed(format!("expected at most {FILE_BYTES_MAX} bytes, found {bytes}")));
    }
    fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

type Leaf<'a> = ((String, String), &'a DeValue<'a>, usize);

/// The values of a document with section, name and where their keys stand, in the order of the file. A table in a
/// section, and one that is no section, count as values: no knob takes them.
fn leaves<'a>(document: &'a DeTable<'a>) -> Vec<Leaf<'a>> {
    let mut leaves: Vec<Leaf<'a>> = Vec::new();
    let known = Config::default();
    let is_section = |name: &str| name != PLACE && known.sections().iter().any(|(section, _, _)| *section == name);
    for (name, value) in document {
        match value.get_ref() {
            DeValue::Table(table) if is_section(name.get_ref()) => {
                for (knob, value) in table {
                    let names = (name.get_ref().to_string(), knob.get_ref().to_string());
                    leaves.push((names, value.get_ref(), knob.span().start));
                }
            }
            value => {
                let names = (PLACE.to_owned(), name.get_ref().to_string());
                leaves.push((names, value, name.span().start));
            }
        }
    }
    leaves.sort_by_key(|(_, _, offset)| *offset);
    leaves
}

/// Whether a variable is one that Kubernetes sets for every service in reach, here for one that is called `lentic` or
/// begins so: `LENTIC_SERVICE_HOST`, `LENTIC_PORT_7420_TCP_ADDR`. No knob has such a name.
fn is_of_kubernetes(name: &str) -> bool {
    let parts: Vec<_> = name.split('_').collect();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (0..parts.len()).any(|from| match &parts[from..] {
        ["SERVICE", "HOST"] | ["PORT"] | ["SERVICE", "PORT", ..] => true,
        ["PORT", port, "TCP" | "UDP" | "SCTP", rest @ ..] => {
            number(port) && matches!(rest, [] | ["ADDR" | "PORT" | "PROTO"])
        }
        _ => false,
    })
}
