//! The manifests of the workspace, as far as the rules need them.
//!
//! Read by lines: the house writes each dependency on one line and with `workspace = true`, so anything else is refused
//! here with the form to use, and no TOML parser stands at the head of every loop.

use super::tree::{Finding, Tree};

/// Whether a dependency reaches the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// A normal or a build dependency.
    Product,
    /// A dependency of tests, benches and examples only; also one that is optional, which here means behind the
    /// feature `testing`.
    Tests,
}

/// A line that names a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The crate depended on.
    pub(crate) name: String,
    /// Where it is used.
    pub(crate) reach: Reach,
    /// The line of the manifest.
    pub(crate) line: usize,
    /// Whether it is taken from the workspace's table, or is the crate itself with other features.
    pub(crate) from_workspace: bool,
    /// Whether it is asked for its feature `testing`.
    pub(crate) for_testing: bool,
}

/// A crate of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: String,
    /// One sentence that says what it is.
    pub(crate) description: String,
    /// Whether it takes the workspace's lints.
    pub(crate) has_lints: bool,
    /// What it depends on.
    pub(crate) dependencies: Vec<Dependency>,
}

impl Package {
    /// The manifest's path.
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }

    /// Whether the crate is no product: it may use what tests may use.
    pub(crate) fn is_bench(&self) -> bool {
        self.name == BENCH
    }
}

/// The crates and the dependency table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// The members, in the root manifest's order.
    pub(crate) packages: Vec<Package>,
    /// The folders of the default members.
    pub(crate) default_folders: Vec<String>,
    /// The crates of the dependency table, with their lines.
    pub(crate) table: Vec<(String, usize)>,
}

/// The crate of the benchmarks.
pub(crate) const BENCH: &str = "lentic-bench";

/// The root manifest's path.
pub(crate) const ROOT: &str = "Cargo.toml";

impl Workspace {
    /// Reads the root manifest and those of all members.
    pub(crate) fn read(tree: &Tree) -> Result<Self, Finding> {
        let text = manifest_text(tree, ROOT)?;
        let table = entries(text).filter(|entry| entry.section == "workspace.dependencies");
        let table = table.map(|entry| (dependency_name(entry.key).to_owned(), entry.line)).collect();
        let folders = array(text, "members");
        let packages = folders.iter().map(|folder| package(tree, folder)).collect::<Result<_, _>>()?;
        Ok(Self { packages, default_folders: array(text, "default-members"), table })
    }

    /// The crate called `name`, if it is one of ours.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The names of the crates that are no default members: those that link RocksDB.
    pub(crate) fn heavy(&self) -> impl Iterator<Item = &str> {
        let is_heavy = |package: &&Package| !self.default_folders.contains(&package.folder);
        self.packages.iter().filter(is_heavy).map(|package| package.name.as_str())
    }
}

fn manifest_text<'a>(tree: &'a Tree, path: &str) -> Result<&'a str, Finding> {
    tree.text(path).ok_or_else(|| Finding::new(path, 1, "the manifest is missing; list only crates that exist"))
}

fn package(tree: &Tree, folder: &str) -> Result<Package, Finding> {
    let mut package = Package { folder: folder.to_owned(), ..Package::default() };
    let text = manifest_text(tree, &package.manifest())?;
    for entry in entries(text) {
        match (entry.section, entry.key) {
            ("package", "name") => package.name = unquoted(entry.value).to_owned(),
            ("package", "description") => package.description = unquoted(entry.value).to_owned(),
            ("lints", "workspace") => package.has_lints = entry.value == "true",
            (section, key) => {
                let Some(reach) = reach(section) else { continue };
                let spaced = entry.value.replace(' ', "");
                let dotted = key.ends_with(".workspace") && spaced == "true";
                let itself = dependency_name(key) == package.name;
                let optional = spaced.contains("optional=true");
                package.dependencies.push(Dependency {
                    name: dependency_name(key).to_owned(),
                    reach: if optional { Reach::Tests } else { reach },
                    line: entry.line,
                    from_workspace: dotted || itself || spaced.contains("workspace=true"),
                    for_testing: spaced.contains("\"testing\""),
                });
            }
        }
    }
    Ok(package)
}

/// The reach of the dependencies in a section, if the section holds any.
fn reach(section: &str) -> Option<Reach> {
    // Also `target.'cfg(unix)'.dependencies`, and `dependencies.name`, whose keys are then no crates: the owner rule
    // refuses them, for `version` is no crate of the table.
    let is = |name: &str| section.split('.').any(|part| part == name);
    match () {
        () if is("dependencies") || is("build-dependencies") => Some(Reach::Product),
        () if is("dev-dependencies") => Some(Reach::Tests),
        () => None,
    }
}

/// `KEY = VALUE` in a section.
struct Entry<'a> {
    section: &'a str,
    key: &'a str,
    value: &'a str,
    line: usize,
}

fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut section = "";
    text.lines().enumerate().filter_map(move |(place, line)| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = header;
            return None;
        }
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        Some(Entry { section, key: key.trim(), value: value.trim(), line: place + 1 })
    })
}

fn dependency_name(key: &str) -> &str {
    key.split('.').next().unwrap_or(key).trim_matches('"')
}

fn unquoted(value: &str) -> &str {
    value.trim_matches('"')
}

/// The strings of `name = ["…", …]`, on one line or on several.
fn array(text: &str, name: &str) -> Vec<String> {
    let start = text.lines().scan(0, |at, line| {
        let here = *at;
        *at += line.len() + 1;
        Some((here, line))
    });
    let Some((at, _)) = start.into_iter().find(|(_, line)| line.split('=').next().unwrap_or("").trim() == name) else {
        return Vec::new();
    };
    let list = text[at..].split(']').next().unwrap_or("");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT_TEXT: &str = "[workspace]\nmembers = [\n  \"a\", \"s/b\",\n]\ndefault-members = [\"a\"]\n\
        [workspace.dependencies]\nb = { path = \"s/b\" }\n# c\nbytes = \"1\"\n";

    #[test]
    fn members_tables_and_dependencies_are_read() {
        let tree = Tree::of(&[
            (ROOT, ROOT_TEXT),
            (
                "a/Cargo.toml",
                "[package]\nname = \"a\"\ndescription = \"An a.\"\n[lints]\nworkspace = true\n[dependencies]\n\
                 b.workspace = true\nx = \"1\"\n[dev-dependencies]\nbytes = { workspace = true, features = [\"f\"] }\n",
            ),
            ("s/b/Cargo.toml", "[package]\nname = \"b\"\n[target.'cfg(unix)'.dependencies]\nbytes.workspace = true\n"),
        ]);
        let workspace = Workspace::read(&tree).unwrap();
        assert_eq!(workspace.table, [("b".to_owned(), 7), ("bytes".to_owned(), 9)]);
        assert_eq!(workspace.heavy().collect::<Vec<_>>(), ["b"]);
        let a = workspace.package("a").unwrap();
        assert!(a.has_lints && a.description == "An a.");
        let found: Vec<_> = a.dependencies.iter().map(|d| (&*d.name, d.reach, d.line, d.from_workspace)).collect();
        let expected =
            [("b", Reach::Product, 7, true), ("x", Reach::Product, 8, false), ("bytes", Reach::Tests, 10, true)];
        assert_eq!(found, expected);
        let b = workspace.package("b").unwrap();
        assert!(!b.has_lints && b.dependencies.len() == 1);
    }

    #[test]
    fn a_member_without_manifest_is_refused() {
        let finding = Workspace::read(&Tree::of(&[(ROOT, ROOT_TEXT)])).unwrap_err();
        assert_eq!(finding.path, "a/Cargo.toml");
    }
}
