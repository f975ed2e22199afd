//! Pure crates name no clock, file, thread, network or environment: the same answer on every replica and on every run.
//!
//! Clippy's `disallowed` lists catch calls; this rule catches names, imports included. Iteration over hash maps is left
//! to clippy, which knows types. Tests of pure crates may read files: that is where scripts are.

use super::manifest::Workspace;
use super::source::{Source, has_word};
use super::tree::{Finding, Tree};

/// The pure crates.
const PURE: &[&str] = &["lentic-types", "lentic-engine", "lentic-machine"];

/// What they do not name, below `std` and below `core`.
const IMPURE_STD: &[&str] = &["env", "fs", "net", "os", "process", "thread", "time"];

/// What they do not name at all.
const IMPURE: &[&str] = &["tokio", "async_std", "rand", "getrandom", "chrono"];

/// Clippy's lists for pure crates, to which each pure crate's clippy.toml is a link.
const CLIPPY_LISTS: &str = ".config/pure-clippy.toml";

/// All pure crates are pure.
pub(crate) fn check(tree: &Tree, workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        let clippy = format!("{}/clippy.toml", package.folder);
        if tree.text(&clippy) != tree.text(CLIPPY_LISTS) || tree.text(&clippy).is_none() {
            let message = format!("the pure crate's lists are not in force; link this file to {CLIPPY_LISTS}");
            findings.push(Finding::new(&clippy, 1, message));
        }
        let folder = format!("{}/src/", package.folder);
        for file in tree.files().filter(|file| file.path.starts_with(&folder) && !tree.is_for_tests(&file.path)) {
            let Some(source) = &file.source else { continue };
            findings.extend(impure_names(source).map(|(line, name)| {
                let message = format!(
                    "{} is pure and may not name `{name}`; take what you need as an argument, return what should happen",
                    package.name
                );
                Finding::new(&file.path, line, message)
            }));
        }
    }
    findings
}

/// The impure names of a file, with their lines, outside of tests.
fn impure_names(source: &Source) -> impl Iterator<Item = (usize, String)> {
    source.numbered().filter(|(_, line)| !line.in_test).flat_map(|(number, line)| {
        let mut found: Vec<String> = Vec::new();
        for root in ["std", "core"] {
            let direct = IMPURE_STD.iter().map(|name| format!("{root}::{name}"));
            found.extend(direct.filter(|path| has_word(&line.code, path)));
            if line.code.contains(&format!("{root}::{{")) {
                let group = source.code_until(number, &[';']);
                let names = first_names(&group).filter(|name| IMPURE_STD.contains(name));
                found.extend(names.map(|name| format!("{root}::{name}")));
            }
        }
        let roots = IMPURE.iter().filter(|name| {
            has_word(&line.code, name)
                && [format!("{name}::"), format!("use {name}")].iter().any(|form| line.code.contains(form))
        });
        found.extend(roots.map(|name| (*name).to_owned()));
        found.into_iter().map(move |name| (number, name))
    })
}

/// The first part of each path in the outermost braces of a `use` item.
fn first_names(item: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut fresh = false;
    let mut names = Vec::new();
    let mut start = None;
    for (at, c) in item.char_indices() {
        if let Some(from) = start.filter(|_| !(c.is_alphanumeric() || c == '_')) {
            names.push(&item[from..at]);
            start = None;
        }
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 1 && matches!(c, '{' | ',') {
            fresh = true;
        } else if fresh && (c.is_alphanumeric() || c == '_') {
            (fresh, start) = (false, Some(at));
        }
    }
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let source = Source::read(text);
        impure_names(&source).map(|(line, name)| format!("{line} {name}")).collect()
    }

    #[test]
    fn impure_names_are_caught() {
        assert_eq!(found("use std::fs;\nlet t = std::time::Instant::now();"), ["1 std::fs", "2 std::time"]);
        assert_eq!(found("use core::time::Duration;"), ["1 core::time"]);
        assert_eq!(found("use tokio::sync::mpsc;\nrand::random();\nuse tokio;"), ["1 tokio", "2 rand", "3 tokio"]);
    }

    #[test]
    fn impure_names_in_groups_are_caught() {
        assert_eq!(
            found("use std::{collections::{BTreeMap, BTreeSet}, fs, thread::JoinHandle};"),
            ["1 std::fs", "1 std::thread"]
        );
        assert_eq!(found("use std::{\n    fmt,\n    time,\n};"), ["1 std::time"]);
        assert_eq!(found("use std::{collections::{fs, BTreeSet}, fmt};"), [""; 0]);
    }

    #[test]
    fn words_in_text_and_in_tests_are_free() {
        assert_eq!(found("//! Not std::fs.\nlet s = \"std::fs\";\nlet brand = brand::x();"), [""; 0]);
        assert_eq!(found("#[cfg(test)]\nmod tests {\n    use std::fs;\n}"), [""; 0]);
    }

    #[test]
    fn a_pure_crate_without_its_lists_is_caught() {
        let manifest = "[package]\nname = \"lentic-types\"\n";
        let root = ("Cargo.toml", "[workspace]\nmembers = [\"t\"]\n");
        for (lists, count) in [("other = 1", 1), ("lists = 1", 0)] {
            let files = [root, ("t/Cargo.toml", manifest), ("t/clippy.toml", lists), (CLIPPY_LISTS, "lists = 1")];
            let tree = Tree::of(&files);
            assert_eq!(check(&tree, &Workspace::read(&tree).unwrap()).len(), count);
        }
    }
}
