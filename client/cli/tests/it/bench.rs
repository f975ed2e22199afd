//! Benches, for a moment.

use crate::process::Cluster;

#[test]
fn benches_tell_figures() {
    let cluster = Cluster::start("1");
    let bench = |workload: &str, more: &[&str]| {
        let fixed = ["bench", workload, "--table", "b", "--seconds", "0.3", "--warm-up", "50ms", "--keys", "500"];
        let words = [&fixed[..], &["--callers", "8", "--output", "json", "--quiet"], more].concat();
        let ended = cluster.lentic(&words);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json().remove(0)
    };
    let refused = cluster.lentic(&["bench", "get", "--table", "b"]);
    assert!(refused.code == 4 && refused.stderr.contains("--shards N"), "{refused:?}");

    let put = bench("put", &["--shards", "4", "--fill"]);
    assert!(put["put"]["operations"].as_u64() > Some(0) && put.get("get").is_none(), "{put}");
    assert_eq!(cluster.lentic(&["scan", "b", "--count"]).ok(), "500\n");
    let get = bench("get", &[]);
    assert_eq!(get["get"]["absent"], 0, "{get}");
    let batches = bench("mixed", &["--batch", "10", "--fill", "--read-fraction", "0.5"]);
    assert!(batches["get"]["operations"].as_u64() > Some(0) && batches["get"]["absent"] == 0, "{batches}");
    let paced = bench("put", &["--rate", "200"]);
    let operations = paced["put"]["operations"].as_u64().unwrap();
    assert!((40..=61).contains(&operations), "0.3 s at 200 a second: {paced}");
    assert_eq!(paced["rate"], 200.0);
}
