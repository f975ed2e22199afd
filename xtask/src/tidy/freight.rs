//! What a repository should not carry: large files, binary ones, leavings of tools.

use super::tree::{Finding, Tree};

/// Largest file in bytes.
const FILE_BYTES_MAX: usize = 300 * 1024;

/// Binary files that belong: pictures of the documents, descriptors of the wire contract, data of the demo.
const BINARY: &[&str] = &[".png", ".binpb", ".csv.gz"];

/// Leavings of editors, merges and profilers.
const LEAVINGS: &[&str] = &[".orig", ".rej", ".bak", "~", ".profraw", ".tmp", ".pyc", ".log"];

/// No file is too large, binary, or left behind.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        let mut find = |message| findings.push(Finding::new(&file.path, 1, message));
        if file.bytes > FILE_BYTES_MAX {
            find(format!("{} bytes, expected {FILE_BYTES_MAX} at most; generate it in the test instead", file.bytes));
        }
        if file.text.is_none() && !BINARY.iter().any(|ending| file.path.ends_with(ending)) {
            find("the file is binary; write it as text, or generate it in the test".to_owned());
        }
        if LEAVINGS.iter().any(|ending| file.path.ends_with(ending)) {
            find("the file is left over from a tool; delete it, or name it in .gitignore".to_owned());
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freight_is_caught() {
        let large = "x".repeat(FILE_BYTES_MAX + 1);
        let tree = Tree::of(&[
            ("a.txt", &large),
            ("b.dat", "a\0b"),
            ("c.rs.orig", ""),
            ("d.txt", &large[1..]),
            ("e.png", "\0"),
        ]);
        let paths: Vec<_> = check(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["a.txt", "b.dat", "c.rs.orig"]);
    }
}
