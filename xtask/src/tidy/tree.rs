//! The repository's files in memory, and what rules say about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fmt, fs, io};

use super::source::Source;

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Finding {
    /// A breach in line `line` of `path`.
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// One file.
pub(crate) struct File {
    /// From the root, with `/` between the parts.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: usize,
    /// Its text, if it is text.
    pub(crate) text: Option<String>,
    /// Its lines as Rust, if it is Rust.
    pub(crate) source: Option<Source>,
}

impl File {
    fn new(path: String, content: Vec<u8>) -> Self {
        let bytes = content.len();
        let text = String::from_utf8(content).ok().filter(|text| !text.contains('\0'));
        let source = text.as_ref().filter(|_| path.ends_with(".rs")).map(|text| Source::read(text));
        Self { path, bytes, text, source }
    }

    /// The path's last part.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether a tool wrote the file: its first lines say `@generated`.
    pub(crate) fn is_generated(&self) -> bool {
        self.text.as_ref().is_some_and(|text| text.lines().take(5).any(|line| line.contains("@generated")))
    }
}

/// All files of the repository that git would track, in the order of their paths.
pub(crate) struct Tree {
    files: Vec<File>,
    test_modules: BTreeSet<String>,
}

impl Tree {
    /// Reads the files below `root`, without .git and what .gitignore names. Git itself is not asked: a tree without
    /// its history is judged the same.
    pub(crate) fn load(root: &Path) -> Result<Self, String> {
        let mut contents = BTreeMap::new();
        let ignored = Ignored::read(&fs::read_to_string(root.join(".gitignore")).unwrap_or_default());
        walk(root, "", &ignored, &mut contents).map_err(|error| format!("cannot read the tree: {error}"))?;
        Ok(Self::new(contents))
    }

    /// A tree of these files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
    }

    fn new(contents: BTreeMap<String, Vec<u8>>) -> Self {
        let files: Vec<_> = contents.into_iter().map(|(path, content)| File::new(path, content)).collect();
        let mut test_modules = BTreeSet::new();
        for file in &files {
            let Some(source) = &file.source else { continue };
            test_modules.extend(source.test_modules().map(|name| format!("{}{name}", module_folder(&file.path))));
        }
        Self { files, test_modules }
    }

    /// The files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The text of the file at `path`.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let place = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files[place].text.as_deref()
    }

    /// Whether a file or folder is at `path`.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty() || self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// Whether a folder is at `path`.
    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.text(path).is_none() && self.holds(path)
    }

    /// Whether all of the file is there for tests, benches or examples, so that product rules do not apply to it:
    /// by its folder, or because its module is declared under `#[cfg(test)]`.
    pub(crate) fn is_for_tests(&self, path: &str) -> bool {
        let mut folders = path.split('/').rev().skip(1);
        folders.any(|part| matches!(part, "tests" | "benches" | "examples"))
            || self.test_modules.iter().any(|module| {
                path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    }
}

/// The folder in which the modules that the file at `path` declares have their files.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder,
        _ => format!("{folder}{}/", name.trim_end_matches(".rs")),
    }
}

/// The patterns of .gitignore, as far as this repository uses them: `/name`, `name`, `*.ending`.
struct Ignored(Vec<String>);

impl Ignored {
    fn read(text: &str) -> Self {
        let patterns = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(patterns.map(|line| line.trim_end_matches('/').to_owned()).collect())
    }

    fn matches(&self, path: &str, name: &str) -> bool {
        name == ".git"
            || self.0.iter().any(|pattern| match (pattern.strip_prefix('/'), pattern.strip_prefix('*')) {
                (Some(rooted), _) => rooted == path,
                (_, Some(ending)) => name.ends_with(ending),
                _ => pattern == name,
            })
    }
}

fn walk(root: &Path, folder: &str, ignored: &Ignored, out: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if ignored.matches(&path, &name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, ignored, out)?;
        } else {
            match fs::read(entry.path()) {
                Ok(content) => _ = out.insert(path, content),
                // An editor or a compiler at work: the file was there for a moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_declared_for_tests_are_for_tests() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "#[cfg(test)]\nmod model;\nmod real;"),
            ("a/src/model.rs", ""),
            ("a/src/model/deep.rs", ""),
            ("a/src/modelling.rs", ""),
            ("a/src/real.rs", "#[cfg(test)]\nmod probe;"),
            ("a/src/real/probe.rs", ""),
            ("a/tests/t.rs", ""),
        ]);
        let found: Vec<_> = tree.files().map(|file| &*file.path).filter(|path| tree.is_for_tests(path)).collect();
        assert_eq!(found, ["a/src/model.rs", "a/src/model/deep.rs", "a/src/real/probe.rs", "a/tests/t.rs"]);
    }

    #[test]
    fn ignored_files_are_no_part_of_the_tree() {
        let ignored = Ignored::read("/target\n*.swp\n# note\n.DS_Store\n");
        for (path, name) in [("target", "target"), ("a/x.swp", "x.swp"), ("a/.DS_Store", ".DS_Store"), (".git", ".git")]
        {
            assert!(ignored.matches(path, name), "{path}");
        }
        assert!(!ignored.matches("docs/target", "target"));
        assert!(!ignored.matches("note", "note"));
    }

    #[test]
    fn the_repository_itself_is_read() {
        let tree = Tree::load(&crate::root()).expect("the tree can be read");
        assert!(tree.text("xtask/src/tidy/tree.rs").is_some());
        assert!(tree.holds("server/types") && !tree.holds("target") && !tree.holds(".git"));
    }
}
