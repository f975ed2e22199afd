//! Runs every rule on the tree and prints what they found.

use std::path::Path;

use super::manifest::Workspace;
use super::tree::{Finding, Tree};
use super::{documents, edges, freight, owners, pure, shape, words};

/// Judges the tree below `root`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let findings = judge(&Tree::load(root)?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("1 finding, above".to_owned()),
        count => Err(format!("{count} findings, above")),
    }
}

/// What all rules find, by file and line.
fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Workspace::read(tree) {
        Ok(workspace) => {
            findings.extend(edges::check(&workspace, edges::EDGES));
            findings.extend(owners::check(&workspace, owners::OWNERS));
            findings.extend(shape::check_manifests(&workspace));
            findings.extend(pure::check(tree, &workspace));
            findings.extend(documents::check_architecture(tree, &workspace));
        }
        Err(finding) => findings.push(finding),
    }
    findings.extend(shape::check_files(tree));
    findings.extend(words::check(tree));
    findings.extend(documents::check(tree));
    findings.extend(freight::check(tree));
    findings.sort();
    findings
}
