//! How to talk to the cluster.

use serde::Serialize;

use super::layout::{Home, Place};
use crate::output::{Align, Answer, Table};

/// The nodes that are up, and how to talk to them.
#[derive(Serialize)]
pub(super) struct Report {
    /// What `LENTIC_SERVER` should be.
    server: String,
    data: String,
    kept: bool,
    nodes: Vec<NodeRow>,
}

#[derive(Serialize)]
struct NodeRow {
    node: u64,
    address: String,
    http_address: String,
    pid: u32,
    data: String,
    log: String,
}

/// A node that runs: its id in the cluster, where it is, and its process.
pub(super) struct Running<'a> {
    pub(super) node: u64,
    pub(super) place: &'a Place,
    pub(super) pid: u32,
}

impl Report {
    pub(super) fn new(home: &Home, nodes: &[Running<'_>]) -> Self {
        let row = |running: &Running<'_>| NodeRow {
            node: running.node,
            address: running.place.address(),
            http_address: running.place.http_address(),
            pid: running.pid,
            data: running.place.data.display().to_string(),
            log: running.place.log.display().to_string(),
        };
        let addresses: Vec<String> = nodes.iter().map(|running| running.place.address()).collect();
        Self {
            server: addresses.join(","),
            data: home.path.display().to_string(),
            kept: home.is_kept,
            nodes: nodes.iter().map(row).collect(),
        }
    }
}

impl Answer for Report {
    fn human(&self) -> String {
        let mut table = Table::new(&[
            ("NODE", Align::Left),
            ("ADDRESS", Align::Left),
            ("HTTP", Align::Left),
            ("PID", Align::Right),
            ("LOG", Align::Left),
        ]);
        for node in &self.nodes {
            let (id, pid) = (format!("n{}", node.node), node.pid.to_string());
            table.push(vec![id, node.address.clone(), node.http_address.clone(), pid, node.log.clone()]);
        }
        let fate = if self.kept { "it stays" } else { "it goes away at the end" };
        format!(
            "{nodes}\ndata is in {data}; {fate}\n\ntalk to it:\n\n  \
             export LENTIC_SERVER={server}\n  \
             lentic table create greetings --shards 4\n  \
             lentic put greetings hello world\n  \
             lentic get greetings hello\n  \
             lentic status --shards\n\nCtrl-C stops it\n",
            nodes = table.rendered(),
            data = self.data,
            server = self.server,
        )
    }

    /// A line for each node: number, address, http address, process id, data, log.
    fn plain(&self) -> Vec<Vec<String>> {
        let line = |node: &NodeRow| {
            let NodeRow { node, address, http_address, pid, data, log } = node;
            vec![node.to_string(), address.clone(), http_address.clone(), pid.to_string(), data.clone(), log.clone()]
        };
        self.nodes.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_cluster_tells_how_to_talk_to_it() {
        let home = Home { path: "d".into(), is_kept: true };
        let place = Place { number: 1, port: 7, http_port: 8, data: "d/node-1".into(), log: "d/node-1.log".into() };
        let [human, plain, json] = shapes_of(&Report::new(&home, &[Running { node: 1, place: &place, pid: 42 }]));
        assert!(
            human.starts_with(
                "NODE  ADDRESS             HTTP                PID  LOG\n\
                 n1    http://127.0.0.1:7  http://127.0.0.1:8   42  d/node-1.log\n\n\
                 data is in d; it stays\n\n\
                 talk to it:\n\n  \
                 export LENTIC_SERVER=http://127.0.0.1:7\n"
            ),
            "{human}"
        );
        assert_eq!(plain, "1\thttp://127.0.0.1:7\thttp://127.0.0.1:8\t42\td/node-1\td/node-1.log\n");
        assert_eq!(
            json,
            "{\"server\":\"http://127.0.0.1:7\",\"data\":\"d\",\"kept\":true,\"nodes\":[{\"node\":1,\
             \"address\":\"http://127.0.0.1:7\",\"http_address\":\"http://127.0.0.1:8\",\"pid\":42,\
             \"data\":\"d/node-1\",\"log\":\"d/node-1.log\"}]}\n"
        );
    }
}
