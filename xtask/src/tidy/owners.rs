//! Which crate may name which foreign crate. Dependencies are guests: each has an owner and a reason.

use super::manifest::{BENCH, Package, ROOT, Reach, Workspace};
use super::tree::Finding;

/// A foreign crate and who may name it.
pub(crate) struct Owner {
    /// The foreign crate.
    pub(crate) guest: &'static str,
    /// Who may name it.
    pub(crate) users: Users,
    /// Why it is here.
    pub(crate) reason: &'static str,
}

/// Who may name a foreign crate.
#[derive(Clone, Copy)]
pub(crate) enum Users {
    /// Any crate.
    All,
    /// Any crate in its tests; the bench crate, which is all test, anywhere.
    Tests,
    /// These crates.
    Only(&'static [&'static str]),
}

const fn owner(guest: &'static str, users: Users, reason: &'static str) -> Owner {
    Owner { guest, users, reason }
}

/// Every foreign crate of the workspace's dependency table.
pub(crate) const OWNERS: &[Owner] = &[
    owner("bytes", Users::All, "shared byte strings, as tonic and openraft use them"),
    owner("thiserror", Users::All, "error types with their messages beside them"),
    owner("tokio", Users::All, "tasks, timers and channels of the shell crates; the pure ones may not"),
    owner("rand", Users::Only(&["lentic-runtime", "lentic-raft"]), "seeds and generators; openraft asks for its trait"),
    owner(
        "prost",
        Users::Only(&[
            "lentic-proto",
            "lentic-raft",
            "lentic-node",
            "lentic-client",
            "lentic-jepsen",
            "lentic-sim",
            BENCH,
        ]),
        "the wire's encoding; who speaks on links encodes its frames",
    ),
    owner(
        "tonic",
        Users::Only(&[
            "lentic-proto",
            "lentic-net",
            "lentic-node",
            "lentic-serve",
            "lentic-client",
            "lentic-jepsen",
            BENCH,
        ]),
        "gRPC: the transport in net, services in node and serve, statuses in the client, etcd's client in the benches",
    ),
    owner("tonic-prost", Users::Only(&["lentic-proto", BENCH]), "the codec of the generated services"),
    owner("prost-build", Users::Only(&["lentic-proto-codegen"]), "messages from descriptors"),
    owner("tonic-prost-build", Users::Only(&["lentic-proto-codegen"]), "services from descriptors"),
    owner("protox", Users::Only(&["lentic-proto-codegen"]), "descriptors from .proto files, without protoc"),
    owner("openraft", Users::Only(&["lentic-raft"]), "consensus, behind Group"),
    owner("openraft-rt-tokio", Users::Only(&["lentic-raft"]), "openraft's channels on tokio"),
    owner(
        "futures-util",
        Users::Only(&["lentic-raft", "lentic-client"]),
        "streams: as openraft asks for them, and scans of the client",
    ),
    owner(
        "tracing",
        Users::Only(&["lentic-node", "lentic-serve", "lentic-raft", "lentic-net", "lentic-cli"]),
        "what happens, in words with fields",
    ),
    owner(
        "tokio-stream",
        Users::Only(&["lentic-node", "lentic-serve", "lentic-jepsen"]),
        "streams of requests and answers, as tonic asks for them",
    ),
    owner("toml", Users::Only(&["lentic-serve"]), "the configuration's syntax, and where in the file things stand"),
    owner("hyper", Users::Only(&["lentic-serve"]), "the pages for operators"),
    owner("hyper-util", Users::Only(&["lentic-serve"]), "hyper on tokio"),
    owner(
        "http-body-util",
        Users::Only(&["lentic-serve", "lentic-node"]),
        "bodies that are there at once, or hold room",
    ),
    owner("prometheus", Users::Only(&["lentic-serve"]), "the text format of metrics"),
    owner("tonic-health", Users::Only(&["lentic-serve"]), "the health service of gRPC"),
    owner("tonic-reflection", Users::Only(&["lentic-serve"]), "the reflection service of gRPC"),
    owner("tracing-subscriber", Users::Only(&["lentic-serve"]), "events as lines"),
    owner("rocksdb", Users::Only(&["lentic-rocks", BENCH]), "the store; benches measure against it bare"),
    owner(
        "crc32fast",
        Users::Only(&[
            "lentic-engine",
            "lentic-log",
            "lentic-node",
            "lentic-raft",
            "lentic-rocks",
            "lentic-client",
            "lentic-cli",
            BENCH,
        ]),
        "checksums of records, of exported files and of what is sent of them, of tokens; the demo's of a table",
    ),
    owner(
        "rustix",
        Users::Only(&["lentic-files", "lentic-log", "lentic-cli", "lentic-jepsen", "lentic-faults", BENCH]),
        "flock, fallocate and signals to children, without unsafe code; namespaces and mounts of faults",
    ),
    owner(
        "quick_cache",
        Users::Only(&["lentic-machine", "lentic-client"]),
        "the bounded memo of newest records; what a job's task has read",
    ),
    owner("clap", Users::Only(&["lentic-cli"]), "arguments, their help and their errors"),
    owner("clap_complete", Users::Only(&["lentic-cli"]), "completions for shells"),
    owner("indicatif", Users::Only(&["lentic-cli"]), "progress of long work"),
    owner("csv", Users::Only(&["lentic-cli"]), "rows from and to files"),
    owner(
        "flate2",
        Users::Only(&["lentic-cli", "lentic-client", BENCH]),
        "files that are compressed; the flights of the client's example",
    ),
    owner("hdrhistogram", Users::Only(&["lentic-cli", BENCH]), "latencies of a bench, merged over its callers"),
    owner(
        "mimalloc",
        Users::Only(&["lentic-cli"]),
        "the allocator of the binary, for requests that move between threads",
    ),
    owner("jiff", Users::Only(&["lentic-cli"]), "times as RFC 3339"),
    owner("serde", Users::Only(&["lentic-cli"]), "answers in their JSON shapes"),
    owner(
        "serde_json",
        Users::Only(&["lentic-cli", "lentic-serve", "lentic-check", "lentic-workloads", "lentic-jepsen"]),
        "answers, rows, pages and histories as JSON",
    ),
    owner("adya", Users::Only(&["lentic-check"]), "cycles in histories of transactions, as Elle finds them"),
    owner("goldenscript", Users::Tests, "scenarios as text files"),
    owner("proptest", Users::Tests, "properties against models"),
    owner("stateright", Users::Tests, "every state that a protocol can reach, in small"),
    owner("tempfile", Users::Tests, "directories that go away with their test"),
    owner("criterion", Users::Only(&[BENCH]), "micro benchmarks"),
    owner("nexmark", Users::Only(&[BENCH]), "the events of a benchmark of stream processors"),
];

/// Every foreign crate is taken from the dependency table, by a crate that may; table and owners agree.
pub(crate) fn check(workspace: &Workspace, owners: &[Owner]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for dependency in &package.dependencies {
            let mut find = |message: String| findings.push(Finding::new(&package.manifest(), dependency.line, message));
            let name = &dependency.name;
            if !dependency.from_workspace {
                find(format!("write `{name}.workspace = true`, on one line; versions stand in the root manifest only"));
            }
            if workspace.package(name).is_some() {
                continue;
            }
            match owners.iter().find(|owner| owner.guest == name) {
                None => find(format!("{name} has no owner; {}", add_row(name))),
                Some(owner) if !may(package, dependency.reach, owner.users) => find(format!(
                    "{} may not name {name}; go through {}, or change its row in xtask/src/tidy/owners.rs",
                    package.name,
                    owner.users.words()
                )),
                Some(_) => {}
            }
        }
    }
    let foreign = workspace.table.iter().filter(|(name, _)| workspace.package(name).is_none());
    for (name, line) in foreign {
        if !owners.iter().any(|owner| owner.guest == name) {
            findings.push(Finding::new(ROOT, *line, format!("{name} has no owner; {}", add_row(name))));
        }
    }
    for owner in owners.iter().filter(|owner| !workspace.table.iter().any(|(name, _)| name == owner.guest)) {
        let message = format!("the owners table names {}, which is in no manifest; remove the row", owner.guest);
        findings.push(Finding::new("xtask/src/tidy/owners.rs", 1, message));
    }
    findings
}

impl Users {
    /// Who they are, for messages and for the reference.
    pub(crate) fn words(self) -> String {
        match self {
            Self::All => "any crate".to_owned(),
            Self::Tests => "tests and benches".to_owned(),
            Self::Only(names) => names.join(", "),
        }
    }
}

fn add_row(name: &str) -> String {
    format!("add {name} to the root manifest's dependency table and to xtask/src/tidy/owners.rs, with its reason")
}

fn may(package: &Package, reach: Reach, users: Users) -> bool {
    match users {
        Users::All => true,
        Users::Tests => reach == Reach::Tests || package.is_bench(),
        Users::Only(names) => names.contains(&package.name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    const OWNED: &[Owner] =
        &[owner("disk", Users::Only(&["b"]), ""), owner("dice", Users::Tests, ""), owner("ink", Users::All, "")];

    fn found(dependencies_of_a: &str) -> Vec<String> {
        let a = format!("[package]\nname = \"a\"\n{dependencies_of_a}");
        let root =
            "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\ndisk = \"1\"\ndice = \"1\"\nink = \"1\"\n";
        let tree = Tree::of(&[("Cargo.toml", root), ("a/Cargo.toml", &a)]);
        check(&Workspace::read(&tree).unwrap(), OWNED).into_iter().map(|finding| finding.to_string()).collect()
    }

    fn assert_caught(dependencies_of_a: &str, start: &str) {
        let found = found(dependencies_of_a);
        assert!(found.iter().any(|line| line.starts_with(start)), "{start:?} not in {found:?}");
    }

    #[test]
    fn guests_stay_with_their_owners() {
        assert_eq!(found("[dependencies]\nink.workspace = true\n[dev-dependencies]\ndice.workspace = true\n"), [""; 0]);
        assert_caught("[dependencies]\ndisk.workspace = true\n", "a/Cargo.toml:4: a may not name disk; go through b");
        assert_caught(
            "[dependencies]\ndice.workspace = true\n",
            "a/Cargo.toml:4: a may not name dice; go through tests",
        );
        assert_caught("[dependencies]\nnew.workspace = true\n", "a/Cargo.toml:4: new has no owner");
    }

    #[test]
    fn an_optional_guest_counts_as_one_of_tests() {
        assert_eq!(found("[dependencies]\ndice = { workspace = true, optional = true }\n"), [""; 0]);
        assert_caught(
            "[dependencies]\ndisk = { workspace = true, optional = true }\n",
            "a/Cargo.toml:4: a may not name",
        );
    }

    #[test]
    fn versions_stand_in_the_root_manifest_only() {
        for line in ["ink = \"1\"", "ink = { version = \"1\" }", "ink = { path = \"../ink\" }"] {
            assert_caught(&format!("[dependencies]\n{line}\n"), "a/Cargo.toml:4: write `ink.workspace = true`");
        }
        assert_caught("[dependencies.ink]\nversion = \"1\"\n", "a/Cargo.toml:4: version has no owner");
    }

    #[test]
    fn table_and_owners_agree() {
        let root = "[workspace]\nmembers = []\n[workspace.dependencies]\ndisk = \"1\"\nstray = \"1\"\n";
        let workspace = Workspace::read(&Tree::of(&[("Cargo.toml", root)])).unwrap();
        let found = check(&workspace, OWNED);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!((&*found[0].path, found[0].line), ("Cargo.toml", 5));
    }
}
