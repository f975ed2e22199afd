//! Documents stay true: links resolve, decisions are numbered and listed, the paths that are named exist.

use super::manifest::Workspace;
use super::tree::{File, Finding, Tree};

/// The folder of the decision records, and the two files in it that are none.
const DECISIONS: &str = "docs/decisions/";
const DECISIONS_INDEX: &str = "docs/decisions/README.md";
const DECISIONS_TEMPLATE: &str = "docs/decisions/template.md";

/// The bird's-eye view, which names every crate.
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Headings under which paths may be named that do not exist yet.
const PLANNED: &[&str] = &["Planned", "Not built yet"];

/// The rules on all documents.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().filter(|file| file.path.ends_with(".md")) {
        findings.extend(check_links(tree, file));
        // A decision record tells of the day it was taken.
        if !file.path.starts_with(DECISIONS) {
            findings.extend(check_paths(tree, file));
        }
    }
    findings.extend(check_decisions(tree));
    findings
}

/// Every crate of the workspace is in the bird's-eye view. (That each crate named there exists follows from the rule
/// on paths.)
pub(crate) fn check_architecture(tree: &Tree, workspace: &Workspace) -> Vec<Finding> {
    let text = tree.text(ARCHITECTURE).unwrap_or("");
    let absent = workspace.packages.iter().filter(|package| {
        !text.contains(&format!("`{}`", package.folder)) && !text.contains(&format!("`{}/", package.folder))
    });
    absent
        .map(|package| {
            let message = format!("{} is not described; add `{}` to the code map", package.name, package.folder);
            Finding::new(ARCHITECTURE, 1, message)
        })
        .collect()
}

/// The lines of a document outside of fenced blocks, numbered, each with the heading it stands under.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let (mut heading, mut fenced) = ("", false);
    text.lines().enumerate().filter_map(move |(place, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        if !fenced && line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
        (!fenced).then_some((place + 1, line, heading))
    })
}

fn check_links(tree: &Tree, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line, _) in prose(file.text.as_deref().unwrap_or("")) {
        for target in links(line).filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            let path = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
            let Some(path) = path.filter(|path| tree.holds(path)) else {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("the link to `{target}` leads nowhere; correct it"),
                ));
                continue;
            };
            let Some((anchor, text)) = anchor.zip(tree.text(&path)) else { continue };
            if path.ends_with(".md")
                && !prose(text).any(|(_, line, heading)| line.starts_with('#') && slug(heading) == anchor)
            {
                let message = format!("{path} has no heading for `#{anchor}`; correct the link");
                findings.push(Finding::new(&file.path, number, message));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter_map(|target| target.split(' ').next())
}

/// The path, from the root, of a link in the file `from`; `None` if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// A heading's anchor, as GitHub makes it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// A path in backticks that begins with a folder of this repository exists, unless it stands under a heading of plans.
fn check_paths(tree: &Tree, file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line, heading) in prose(file.text.as_deref().unwrap_or("")) {
        if PLANNED.iter().any(|word| heading.starts_with(word)) {
            continue;
        }
        for name in line.split('`').skip(1).step_by(2) {
            let is_path = name.contains('/') && name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let first = name.split('/').next().unwrap_or("");
            let path = name.trim_end_matches('/');
            if is_path && !first.is_empty() && first.len() < name.len() && tree.is_folder(first) && !tree.holds(path) {
                let message = format!("`{name}` does not exist; correct it, or move it under a heading \"Planned\"");
                findings.push(Finding::new(&file.path, number, message));
            }
        }
    }
    findings
}

/// Records are numbered from 0001 without gap, carry their number in the title, and are listed in the index.
fn check_decisions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let index = tree.text(DECISIONS_INDEX).unwrap_or("");
    let records = tree.files().filter(|file| {
        file.path.starts_with(DECISIONS) && ![DECISIONS_INDEX, DECISIONS_TEMPLATE].contains(&file.path.as_str())
    });
    for (place, file) in records.enumerate() {
        let expected = format!("{:04}", place + 1);
        let mut find = |message| findings.push(Finding::new(&file.path, 1, message));
        if !file.name().starts_with(&format!("{expected}-")) || !file.name().ends_with(".md") {
            find(format!("expected a record called {expected}-SLUG.md here; records are numbered without gap"));
        }
        if !file.text.as_ref().is_some_and(|text| text.starts_with(&format!("# {expected}: "))) {
            find(format!("the title does not carry the number; start with `# {expected}: `"));
        }
        if !index.lines().flat_map(links).any(|target| target == file.name()) {
            find(format!("the record is not listed; add a line with a link to {DECISIONS_INDEX}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn dead_links_are_caught() {
        let other = ("docs/b.md", "# B\n\n## How we know it\n");
        let good = "[b](b.md) [up](../README.md) [h](b.md#how-we-know-it) [s](#a) [w](https://x.org/y) [d](../docs)\n";
        let good = format!("# A\n{good}```\n[no](link.md)\n```\n");
        assert_eq!(found(&[("README.md", ""), ("docs/a.md", &good), other]), [""; 0]);
        for bad in ["[b](c.md)", "[up](../../b.md)", "[h](b.md#how)", "[s](#nowhere)"] {
            let lines = found(&[("docs/a.md", &format!("# A\n\n{bad}\n")), other]);
            assert!(lines.len() == 1 && lines[0].starts_with("docs/a.md:3: "), "{bad}: {lines:?}");
        }
    }

    #[test]
    fn named_paths_that_do_not_exist_are_caught() {
        let code = ("server/log/src/lib.rs", "");
        let text = "`server/log/`, `server/gone/src`, `a/b`, `server/<name>/x`\n## Planned\n`server/raft`\n";
        let lines = found(&[("README.md", text), code]);
        assert!(lines.len() == 1 && lines[0].contains("`server/gone/src`"), "{lines:?}");
    }

    #[test]
    fn decisions_are_numbered_titled_and_listed() {
        let index = ("docs/decisions/README.md", "[1](0001-one.md)\n[2](0002-two.md)\n");
        let one = ("docs/decisions/0001-one.md", "# 0001: One\n");
        let two = ("docs/decisions/0002-two.md", "# 0002: Two\n");
        assert_eq!(found(&[index, one, two, ("docs/decisions/template.md", "# NNNN: title")]), [""; 0]);
        let unlisted = ("docs/decisions/0003-three.md", "# 0003: Three\n");
        assert_eq!(found(&[index, one, two, unlisted]).len(), 1);
        let gap = ("docs/decisions/0004-two.md", "# 0004: Four\n");
        assert_eq!(found(&[("docs/decisions/README.md", "[1](0001-one.md)[4](0004-two.md)"), one, gap]).len(), 2);
        assert_eq!(found(&[index, ("docs/decisions/0001-one.md", "# One\n"), two]).len(), 1);
    }

    #[test]
    fn a_crate_missing_from_the_map_is_caught() {
        for (text, count) in [("the `s/a` crate", 0), ("`s/a/src/x.rs`", 0), ("s/a, `s/ab`", 1)] {
            let tree = Tree::of(&[
                ("Cargo.toml", "[workspace]\nmembers = [\"s/a\"]\n"),
                ("s/a/Cargo.toml", "[package]\nname = \"a\"\n"),
                (ARCHITECTURE, text),
            ]);
            assert_eq!(check_architecture(&tree, &Workspace::read(&tree).unwrap()).len(), count, "{text}");
        }
    }
}
