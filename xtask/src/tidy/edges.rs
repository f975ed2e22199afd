//! Which crate of the workspace may use which. Calls go down, values come up, and what is not in the table is refused.

use super::manifest::{Package, Reach, Workspace};
use super::tree::Finding;

/// An allowed edge. `Reach::Tests` allows it to tests, benches and examples only.
pub(crate) struct Edge {
    /// The crate that uses.
    pub(crate) from: &'static str,
    /// The crate used.
    pub(crate) to: &'static str,
    /// How far the use may reach.
    pub(crate) reach: Reach,
    /// Why there is such an edge.
    pub(crate) reason: &'static str,
}

const fn edge(from: &'static str, to: &'static str, reach: Reach, reason: &'static str) -> Edge {
    Edge { from, to, reach, reason }
}

/// Every allowed edge. What is absent is deliberate: nothing below `machine` knows of it, `log` knows nothing of what
/// it carries, and no default member reaches `lentic-rocks`, for that would link RocksDB into the fast loop.
pub(crate) const EDGES: &[Edge] = &[
    edge("lentic-engine", "lentic-types", Reach::Product, "versions, ranges and limits are the engine's words"),
    edge("lentic-machine", "lentic-types", Reach::Product, "ids, limits and error kinds are the machine's words"),
    edge("lentic-machine", "lentic-engine", Reach::Product, "decisions read views and return batches"),
    edge("lentic-log", "lentic-types", Reach::Product, "group ids, indexes and codec primitives"),
    edge("lentic-log", "lentic-files", Reach::Product, "its directory belongs to one process"),
    edge("lentic-rocks", "lentic-files", Reach::Product, "its directory belongs to one process"),
    edge("lentic-rocks", "lentic-types", Reach::Product, "limits and codec primitives"),
    edge("lentic-rocks", "lentic-engine", Reach::Product, "it implements the engine's Store"),
    edge("lentic-rocks", "lentic-machine", Reach::Tests, "the same scripts and models run on both stores"),
    edge("lentic-proto", "lentic-types", Reach::Product, "failures, ranges and ends of values in the words of all"),
    edge("lentic-net", "lentic-runtime", Reach::Product, "its tasks belong to the scope of their node"),
    edge("lentic-net", "lentic-types", Reach::Product, "the limits of what a frame holds"),
    edge("lentic-net", "lentic-proto", Reach::Tests, "an ordinary client of the wire contract can open a pipe"),
    edge("lentic-raft", "lentic-types", Reach::Product, "ids, indexes and codec primitives"),
    edge("lentic-raft", "lentic-log", Reach::Product, "entries and votes of its groups are kept there"),
    edge("lentic-raft", "lentic-net", Reach::Product, "its messages travel on links"),
    edge("lentic-raft", "lentic-proto", Reach::Product, "the messages between nodes"),
    edge("lentic-raft", "lentic-runtime", Reach::Product, "its tasks belong to the scope of their node"),
    edge("lentic-client", "lentic-types", Reach::Product, "versions, ranges and error kinds are a caller's words"),
    edge("lentic-client", "lentic-proto", Reach::Product, "it speaks the pipe"),
    edge("lentic-client", "lentic-net", Reach::Product, "its pipes are links"),
    edge("lentic-client", "lentic-runtime", Reach::Product, "its tasks and random numbers are a function of the seed"),
    edge("lentic-client", "lentic-serve", Reach::Tests, "behind the feature `embedded`: a node of the client's own"),
    edge("lentic-client", "lentic-engine", Reach::Product, "a transaction reads what its own merges make of a value"),
    edge("lentic-client", "lentic-machine", Reach::Tests, "the shards of the cluster that its tests talk to"),
    edge("lentic-node", "lentic-types", Reach::Product, "ids, limits, error kinds"),
    edge("lentic-node", "lentic-engine", Reach::Product, "it reads stores and moves their state"),
    edge("lentic-node", "lentic-machine", Reach::Product, "it hosts the shards' and the meta group's machines"),
    edge("lentic-node", "lentic-log", Reach::Product, "its groups share one log"),
    edge("lentic-node", "lentic-net", Reach::Product, "it accepts and dials links"),
    edge("lentic-node", "lentic-proto", Reach::Product, "it answers clients"),
    edge("lentic-node", "lentic-raft", Reach::Product, "its machines are replicated"),
    edge("lentic-node", "lentic-runtime", Reach::Product, "its tasks, clocks and random numbers"),
    edge("lentic-serve", "lentic-types", Reach::Product, "ids and limits of its configuration"),
    edge("lentic-serve", "lentic-proto", Reach::Product, "the descriptors of the wire contract, for reflection"),
    edge("lentic-serve", "lentic-client", Reach::Tests, "nodes are talked to as clients do"),
    edge("lentic-serve", "lentic-files", Reach::Product, "its directory belongs to one process"),
    edge("lentic-serve", "lentic-log", Reach::Product, "it opens the log on disk"),
    edge("lentic-serve", "lentic-rocks", Reach::Product, "it opens the store on disk"),
    edge("lentic-serve", "lentic-net", Reach::Product, "it opens the sockets"),
    edge("lentic-serve", "lentic-runtime", Reach::Product, "its tasks, and the scope of its node"),
    edge("lentic-cli", "lentic-client", Reach::Product, "every command but those that run nodes is a client"),
    edge("lentic-cli", "lentic-serve", Reach::Product, "`lentic serve` is a node"),
    edge("lentic-cli", "lentic-runtime", Reach::Product, "its tasks and blocking work"),
    edge("lentic-cli", "lentic-types", Reach::Product, "limits, and versions as times"),
    edge("lentic-cli", "lentic-jepsen", Reach::Tests, "faults on real processes, which are this binary"),
    edge("lentic-workloads", "lentic-check", Reach::Product, "what clients were answered is checked there"),
    edge("lentic-workloads", "lentic-client", Reach::Product, "clients do what services do"),
    edge(
        "lentic-workloads",
        "lentic-runtime",
        Reach::Product,
        "its tasks and random numbers are a function of the seed",
    ),
    edge("lentic-sim", "lentic-workloads", Reach::Product, "what clients of a simulated cluster do"),
    edge("lentic-jepsen", "lentic-workloads", Reach::Product, "what clients of a real cluster do"),
    edge("lentic-jepsen", "lentic-faults", Reach::Product, "what is done to its processes"),
    edge("lentic-sim-rocks", "lentic-sim", Reach::Product, "it gives the simulation another store"),
    edge("lentic-sim-rocks", "lentic-rocks", Reach::Product, "the store"),
    edge("lentic-sim-rocks", "lentic-engine", Reach::Product, "what a store is"),
    edge("lentic-sim-rocks", "lentic-types", Reach::Product, "groups and indexes"),
    edge("lentic-jepsen", "lentic-check", Reach::Product, "what clients were answered is checked there"),
    edge("lentic-jepsen", "lentic-client", Reach::Product, "its clients are the real ones"),
    edge("lentic-jepsen", "lentic-net", Reach::Product, "links to nodes of callers who are no such clients"),
    edge("lentic-jepsen", "lentic-proto", Reach::Product, "what such callers say"),
    edge("lentic-jepsen", "lentic-runtime", Reach::Product, "random addresses"),
    edge("lentic-jepsen", "lentic-types", Reach::Product, "the limits that such callers break"),
    edge("lentic-sim", "lentic-client", Reach::Product, "the clients of a simulation are the real ones"),
    edge("lentic-sim", "lentic-engine", Reach::Product, "the stores of simulated hosts"),
    edge("lentic-sim", "lentic-log", Reach::Product, "the logs of simulated hosts"),
    edge("lentic-sim", "lentic-machine", Reach::Product, "which part of a store a shard is"),
    edge("lentic-sim", "lentic-net", Reach::Product, "the simulated network"),
    edge("lentic-sim", "lentic-node", Reach::Product, "the nodes of a simulation are the real ones"),
    edge("lentic-sim", "lentic-proto", Reach::Product, "what nodes say to each other is looked at"),
    edge("lentic-sim", "lentic-raft", Reach::Product, "knobs of replication"),
    edge("lentic-sim", "lentic-runtime", Reach::Product, "tasks, clocks and random numbers of simulated hosts"),
    edge("lentic-sim", "lentic-types", Reach::Product, "ids and versions"),
    edge("lentic-serve", "lentic-engine", Reach::Product, "rules of garbage collection, figures of the store"),
    edge("lentic-serve", "lentic-machine", Reach::Product, "a knob of the shards' memo"),
    edge("lentic-serve", "lentic-node", Reach::Product, "it is what runs"),
    edge("lentic-serve", "lentic-raft", Reach::Product, "knobs of replication"),
    edge("lentic-bench", "lentic-types", Reach::Product, "benches drive every layer"),
    edge("lentic-bench", "lentic-engine", Reach::Product, "benches drive every layer"),
    edge("lentic-bench", "lentic-machine", Reach::Product, "benches drive every layer"),
    edge("lentic-bench", "lentic-rocks", Reach::Product, "benches drive every layer"),
    edge("lentic-bench", "lentic-client", Reach::Product, "whole clusters are driven as their users do"),
    edge("lentic-bench", "lentic-log", Reach::Product, "benches drive every layer"),
    edge("lentic-bench", "lentic-client", Reach::Product, "the demo talks to a cluster as clients do"),
];

/// Every use of one crate by another is in the table, and the table names only crates that exist.
pub(crate) fn check(workspace: &Workspace, edges: &[Edge]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for dependency in &package.dependencies {
            let (to, reach) = (&dependency.name, dependency.reach);
            if workspace.package(to).is_none() || *to == package.name {
                continue;
            }
            let mut find = |message| findings.push(Finding::new(&package.manifest(), dependency.line, message));
            if dependency.for_testing && reach == Reach::Product && !package.is_bench() {
                find(format!("the product may not ask {to} for `testing`; move the line to the dev-dependencies"));
            }
            if !allowed(package, to, reach, edges) {
                let what = if reach == Reach::Tests { format!("{to} in tests") } else { to.clone() };
                find(format!(
                    "{} may not use {what}; remove the edge, or argue for it with a row in xtask/src/tidy/edges.rs, in a \
                     commit of its own",
                    package.name
                ));
            }
        }
    }
    for name in edges.iter().flat_map(|edge| [edge.from, edge.to]) {
        if workspace.package(name).is_none() {
            let message = format!("the edges table names {name}, which is no crate of the workspace; remove the row");
            findings.push(Finding::new("xtask/src/tidy/edges.rs", 1, message));
        }
    }
    findings
}

/// Whether a row allows the use. A row for the product allows tests too.
fn allowed(package: &Package, to: &str, reach: Reach, edges: &[Edge]) -> bool {
    edges.iter().any(|edge| edge.from == package.name && edge.to == to && edge.reach <= reach)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    fn workspace(dependencies_of_b: &str) -> Workspace {
        let b = format!("[package]\nname = \"b\"\n{dependencies_of_b}");
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"a\", \"b\"]\n"),
            ("a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("b/Cargo.toml", &b),
        ]);
        Workspace::read(&tree).unwrap()
    }

    #[test]
    fn an_edge_outside_the_table_is_caught() {
        let found = check(&workspace("[dependencies]\na.workspace = true\n"), &[]);
        assert_eq!((&*found[0].path, found[0].line), ("b/Cargo.toml", 4));
        assert!(found[0].message.starts_with("b may not use a;"), "{}", found[0]);
        let up = [edge("a", "b", Reach::Product, "")];
        assert_eq!(check(&workspace("[dependencies]\na.workspace = true\n"), &up).len(), 1, "edges have a direction");
    }

    #[test]
    fn an_edge_for_tests_does_not_open_the_product() {
        let tests = [edge("b", "a", Reach::Tests, "")];
        assert_eq!(check(&workspace("[dependencies]\na.workspace = true\n"), &tests).len(), 1);
        assert_eq!(check(&workspace("[dev-dependencies]\na.workspace = true\n"), &tests), []);
        let product = [edge("b", "a", Reach::Product, "")];
        assert_eq!(check(&workspace("[dev-dependencies]\na.workspace = true\n"), &product), []);
    }

    #[test]
    fn the_feature_testing_stays_out_of_the_product() {
        let edges = [edge("b", "a", Reach::Product, "")];
        let line = "a = { workspace = true, features = [\"testing\"] }";
        assert_eq!(check(&workspace(&format!("[dependencies]\n{line}\n")), &edges).len(), 1);
        assert_eq!(check(&workspace(&format!("[dev-dependencies]\n{line}\n")), &edges), []);
        assert_eq!(
            check(&workspace("[dev-dependencies]\nb = { path = \".\", features = [\"testing\"] }\n"), &edges),
            []
        );
    }

    #[test]
    fn a_row_for_a_crate_that_is_gone_is_caught() {
        assert_eq!(check(&workspace(""), &[edge("b", "gone", Reach::Product, "")]).len(), 1);
    }

    #[test]
    fn no_default_member_reaches_rocksdb() {
        let fast = ["lentic-types", "lentic-engine", "lentic-machine", "lentic-log", "xtask"];
        assert!(!EDGES.iter().any(|edge| fast.contains(&edge.from) && edge.to == "lentic-rocks"));
    }
}
