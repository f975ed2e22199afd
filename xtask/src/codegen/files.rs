//! Writes the generated files, or compares them with what is there.

use std::fs;
use std::path::Path;

use super::reference;
use crate::tidy::Tree;

/// What to do with generated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write the files that differ.
    Write,
    /// Fail if a file differs.
    Compare,
}

/// Writes or compares every generated file below `root`.
pub(crate) fn run(root: &Path, mode: Mode) -> Result<(), String> {
    let tree = Tree::load(root)?;
    let text = reference::render(&tree)?;
    let path = reference::PATH;
    match (mode, tree.text(path) == Some(text.as_str())) {
        (_, true) => Ok(()),
        (Mode::Compare, false) => Err(format!("{path} does not agree with its sources; run `cargo xtask codegen`")),
        (Mode::Write, false) => {
            fs::write(root.join(path), text).map_err(|error| format!("cannot write {path}: {error}"))?;
            eprintln!("xtask: wrote {path}");
            Ok(())
        }
    }
}
