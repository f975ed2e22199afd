//! Loading and dumping.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::process::{Cluster, lentic_with};

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_come_in_and_go_out() {
    let cluster = Cluster::start("1");
    let directory = cluster.home.path();
    cluster.lentic(&["table", "create", "flights", "--split-at", "f/m"]).ok();
    cluster.lentic(&["table", "create", "copy"]).ok();
    loads_rows_and_goes_on(&cluster, directory);
    dumps_and_loads_again(&cluster, directory);
    copies_to_embedded_nodes_and_back(&cluster, directory);
    takes_the_last_of_equal_keys(&cluster);
    deletes_more_than_one_request_may(&cluster);
}

fn loads_rows_and_goes_on(cluster: &Cluster, directory: &Path) {
    let mut text = "origin,number,note\n".to_owned();
    (0..12_000).for_each(|row| text += &format!("{},{row},\"n, {row}\"\n", ["jfk", "mia"][row % 2]));
    let file = path(directory, "flights.csv.gz");
    fs::write(&file, gzip(&(text.clone() + "short\n"))).unwrap();
    let load = ["load", "flights", &file, "--key-format", "f/{origin}/{number:06}", "--output", "json"];

    let ended = cluster.lentic(&load);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("line 12002: expected 3 fields, as in the heading, found 1"), "{ended:?}");
    assert!(ended.stderr.contains("continue with --skip 12000"), "{ended:?}");
    let told = &ended.json()[0];
    assert_eq!((&told["complete"], &told["acknowledged_through"]), (&json!(false), &json!(12_000)));

    fs::write(&file, gzip(&(text + "mia,12000,last\n"))).unwrap();
    let told = cluster.lentic(&[&load[..], &["--skip", "12000"]].concat()).json().remove(0);
    assert_eq!((&told["complete"], &told["rows"]), (&json!(true), &json!(1)));
    let found = cluster.lentic(&["get", "flights", "f/mia/012000", "f/jfk/000002", "--output", "json"]);
    assert_eq!(found.json()[0]["value"], r#"{"origin":"mia","number":"12000","note":"last"}"#);
    assert_eq!(found.json()[1]["value"], r#"{"origin":"jfk","number":"2","note":"n, 2"}"#);
    assert_eq!(cluster.lentic(&["scan", "flights", "--count"]).ok(), "12,001\n");
    let too_far = cluster.lentic(&[&load[..], &["--skip", "13000"]].concat());
    assert!(too_far.code == 2 && too_far.stderr.contains("the file has 12001 rows"), "{too_far:?}");
}

fn dumps_and_loads_again(cluster: &Cluster, directory: &Path) {
    cluster.lentic(&["put", "flights", "00ff", "fe", "--hex", "--ttl", "1h"]).ok();
    let before = cluster.lentic(&["scan", "flights", "--output", "plain"]).ok();
    for name in ["flights.jsonl", "flights.csv.gz"] {
        let file = path(directory, name);
        let told = cluster.lentic(&["dump", "flights", &file, "--output", "json"]).json().remove(0);
        assert_eq!(told["rows"], 12_002);
        assert_eq!(cluster.lentic(&["load", "copy", &file, "--output", "plain"]).ok(), "12002\t12002\ttrue\n");
        // All but the version, which is that of the write.
        let rows = |text: &str| -> Vec<Vec<String>> {
            text.lines()
                .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
                .map(|mut row| {
                    row.remove(1);
                    row
                })
                .collect()
        };
        let after = cluster.lentic(&["scan", "copy", "--output", "plain"]).ok();
        assert!(rows(&before) == rows(&after), "{name} brings back other rows");
        cluster.lentic(&["delete-range", "copy", "--all"]).ok();
    }
    let to_stdout = cluster.lentic(&["dump", "flights", "-", "--format", "csv", "--prefix", "f/mia/012"]).ok();
    assert!(to_stdout.starts_with("key,value,version,expires_unix_ms\nf/mia/012000,"), "{to_stdout}");
    let none = cluster.lentic(&["dump", "nothing", &path(directory, "none.csv")]);
    assert!(none.code == 4 && !directory.join("none.csv").exists(), "{none:?}");
}

fn copies_to_embedded_nodes_and_back(cluster: &Cluster, directory: &Path) {
    let node = path(directory, "embedded");
    let there = cluster.lentic(&["copy", "flights", "--to-embedded", &node, "--output", "json"]).json().remove(0);
    assert_eq!((&there["rows"], &there["ending"]), (&json!(12_001), &json!(1)), "one row has an end: {there}");
    let again = cluster.lentic(&["copy", "flights", "--to-embedded", &node]);
    assert!(again.code == 1 && again.stderr.contains("has rows there already"), "{again:?}");
    let back = ["copy", "flights", "--from-embedded", &node, "--as", "back", "--output", "json"];
    let back = cluster.lentic(&back).json().remove(0);
    assert_eq!((&back["checksum"], &back["ending"]), (&there["checksum"], &json!(1)), "{back}");
    let without_versions = |table: &str| {
        let rows = cluster.lentic(&["scan", table, "--output", "json"]).json();
        rows.into_iter().map(|row| json!([row["key"], row["value"], row["expires_unix_ms"]])).collect::<Vec<_>>()
    };
    assert!(without_versions("flights") == without_versions("back"), "other rows came back");
    let shown = cluster.lentic(&["table", "show", "back", "--output", "json"]).json().remove(0);
    assert_eq!(shown["shards"].as_array().unwrap().len(), 2, "cut as it was: {shown}");
    let nowhere = cluster.lentic(&["copy", "flights"]);
    assert!(nowhere.code == 2 && nowhere.stderr.contains("nothing says where to"), "{nowhere:?}");
    let nothing = cluster.lentic(&["copy", "nothing", "--as", "nothing-2"]);
    assert!(nothing.code == 4 && cluster.lentic(&["table", "show", "nothing-2"]).code == 4, "{nothing:?}");
    let no_directory = cluster.lentic(&["copy", "flights", "--from-embedded", "/dev/null", "--as", "x"]);
    assert!(no_directory.code == 2 && no_directory.stderr.contains("/dev/null"), "{no_directory:?}");
}

fn takes_the_last_of_equal_keys(cluster: &Cluster) {
    let lines: String = (0..300).map(|row| format!("{{\"k\":\"same{}\",\"v\":{row}}}\n", row % 3)).collect();
    let load = ["load", "copy", "-", "--format", "jsonl", "--key", "k", "--value", "v"];
    lentic_with(cluster.server(), &load, lines.as_bytes()).ok();
    let rows = cluster.lentic(&["scan", "copy", "--prefix", "same", "--output", "plain"]).ok();
    let values: Vec<&str> = rows.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(values, ["297", "298", "299"]);
}

fn deletes_more_than_one_request_may(cluster: &Cluster) {
    let lines: String = (0..10_500).map(|row| format!("{{\"k\":\"many{row:05}\"}}\n")).collect();
    let load = ["load", "copy", "-", "--format", "jsonl", "--key", "k"];
    lentic_with(cluster.server(), &load, lines.as_bytes()).ok();
    let told = cluster.lentic(&["delete-range", "copy", "--prefix", "many", "--output", "json"]).json().remove(0);
    assert_eq!(told["parts"], 3);
    assert_eq!(cluster.lentic(&["scan", "copy", "--count"]).ok(), "3\n");
}

#[test]
fn who_does_not_read_on_ends_it() {
    use std::io::Read as _;
    let cluster = Cluster::start("1");
    cluster.lentic(&["table", "create", "t"]).ok();
    let lines: String = (0..20_000).map(|row| format!("{{\"k\":\"{row:06}\"}}\n")).collect();
    let load = ["load", "t", "-", "--format", "jsonl", "--key", "k"];
    lentic_with(cluster.server(), &load, lines.as_bytes()).ok();
    let mut child = crate::process::command(cluster.server(), &["scan", "t"]).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(141), &b""[..]));
}
