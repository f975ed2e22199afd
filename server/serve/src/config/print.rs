//! The whole configuration as a file that says what each knob is for.

use std::fmt::Write as _;

use super::tree::{Config, PLACE};

/// Columns of a comment.
const COLUMNS: usize = 100;

impl Config {
    /// The whole configuration in TOML, with what each knob is for, and the default where the value is another. What
    /// is printed is read as this configuration.
    #[must_use]
    pub fn print(&self) -> String {
        let mut out = String::new();
        let defaults = Self::default();
        for ((section, purpose, knobs), (_, _, defaults)) in self.sections().into_iter().zip(defaults.sections()) {
            if section != PLACE {
                out.push('\n');
            }
            put_comment(&mut out, &[purpose]);
            if section != PLACE {
                put_line(&mut out, &format!("[{section}]"));
            }
            for (knob, default) in knobs.knobs().into_iter().zip(defaults.knobs()) {
                out.push('\n');
                put_comment(&mut out, knob.doc);
                if knob.value != default.value {
                    put_line(&mut out, &format!("# Default: {}", default.value));
                }
                let size = size_of(knob.name, &knob.value).map(|size| format!("  # {size}")).unwrap_or_default();
                put_line(&mut out, &format!("{} = {}{size}", knob.name, knob.value));
            }
        }
        out
    }
}

fn put_line(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a string takes any line");
}

/// Lines of a comment, wrapped anew.
fn put_comment(out: &mut String, lines: &[&str]) {
    let mut line = String::from("#");
    for word in lines.iter().flat_map(|line| line.split_whitespace()) {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            put_line(out, &line);
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    put_line(out, &line);
}

/// A number of bytes in the largest unit that it is a multiple of.
fn size_of(name: &str, value: &str) -> Option<String> {
    let bytes: u64 = value.replace('_', "").parse().ok().filter(|_| name.contains("bytes"))?;
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let (shift, unit) = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift))?;
    Some(format!("{} {unit}", bytes >> shift))
}
