//! Scripts as transactions.

use std::fs;

use serde_json::{Value, json};

use crate::process::{Cluster, Ended, lentic, lentic_with};

const TRANSFER: &str = "\
# Ann pays Bob, once.
require payments p-17 absent
require accounts bob exists
get accounts ann
merge accounts ann add-i64 -5
get accounts ann
merge accounts bob add-i64 5
put payments p-17 'ann to bob: 5'
scan payments --prefix p-
";

fn txn(cluster: &Cluster, words: &[&str], script: &str) -> Ended {
    lentic_with(cluster.server(), &[&["txn", "-"], words].concat(), script.as_bytes())
}

fn balance(cluster: &Cluster, account: &str) -> String {
    cluster.lentic(&["get", "accounts", account, "--as", "i64"]).ok()
}

fn error(ended: &Ended) -> Value {
    let told: Value = serde_json::from_str(&ended.stderr).unwrap_or_else(|_| panic!("{ended:?}"));
    told["error"].clone()
}

#[test]
fn scripts_are_transactions() {
    let cluster = Cluster::start("1");
    cluster.lentic(&["table", "create", "accounts", "--split-at", "b"]).ok();
    cluster.lentic(&["table", "create", "payments"]).ok();
    for account in ["ann", "bob"] {
        cluster.lentic(&["merge", "accounts", account, "add-i64", "100"]).ok();
    }
    commits_over_two_tables(&cluster);
    leaves_nothing_when_a_condition_fails(&cluster);
    names_the_statement_that_is_refused(&cluster);
    takes_json(&cluster);
    takes_bytes_and_ends(&cluster);
    understands_all_before_it_sends(&cluster);
}

fn commits_over_two_tables(cluster: &Cluster) {
    let file = cluster.home.path().join("transfer").display().to_string();
    fs::write(&file, TRANSFER).unwrap();
    let told = cluster.lentic(&["txn", &file, "--output", "json"]).json().remove(0);
    assert_eq!(told["outcome"], "committed");
    let version = &told["version"];
    let reads = told["reads"].as_array().unwrap();
    assert_eq!(reads.iter().map(|read| read["statement"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 4, 7]);
    assert_eq!((&reads[0]["table"], &reads[0]["key"]), (&json!("accounts"), &json!("ann")));
    assert!(reads[0]["version"] != *version && reads[1]["version"] == *version, "{told}");
    let row = json!({"key": "p-17", "found": true, "value": "ann to bob: 5", "version": version, "expires": null});
    assert_eq!(reads[2]["rows"], json!([row]));
    assert_eq!([balance(cluster, "ann"), balance(cluster, "bob")], ["95\n", "105\n"]);
    let stored = cluster.lentic(&["get", "payments", "p-17", "--output", "json"]).json().remove(0);
    assert_eq!(stored["version"], *version);
    for account in ["ann", "bob"] {
        let stored = cluster.lentic(&["get", "accounts", account, "--output", "json"]).json().remove(0);
        assert_eq!(stored["version"], *version, "one version for all");
    }
}

fn leaves_nothing_when_a_condition_fails(cluster: &Cluster) {
    let again = txn(cluster, &["--output", "json"], TRANSFER);
    assert_eq!((again.code, &*again.stdout), (1, ""));
    assert_eq!(
        error(&again),
        json!({
            "code": 1, "kind": "condition_failed", "position": 0, "retry": "never",
            "message": "line 2: require does not hold; read again, then decide again"
        })
    );
    // Of scripts without reads, too, whatever the order of tables and statements.
    let script =
        "put payments p-18 x\nput accounts carl x\nrequire payments p-17 exists\n\nrequire accounts zoe value x";
    let ended = txn(cluster, &[], script);
    assert_eq!((ended.code, &*ended.stderr), (1, "no: line 5: require does not hold; read again, then decide again\n"));
    assert_eq!([balance(cluster, "ann"), balance(cluster, "bob")], ["95\n", "105\n"]);
    for [table, key] in [["payments", "p-18"], ["accounts", "carl"]] {
        assert_eq!(cluster.lentic(&["get", table, key]).code, 1);
    }
}

fn names_the_statement_that_is_refused(cluster: &Cluster) {
    let script = "put payments p-18 x\nput accounts carl x\nmerge payments p-17 add-i64 1";
    let refused = error(&txn(cluster, &["--output", "json"], script));
    assert_eq!((&refused["kind"], &refused["position"]), (&json!("wrong_kind"), &json!(2)), "{refused}");
    assert_eq!(refused["message"], "line 3: merge meets a value of another kind; check the key and the operator");
    let refused = error(&txn(cluster, &["--output", "json"], "put payments p-18 x\nput nothing a b"));
    assert_eq!(
        (&refused["code"], &refused["kind"], &refused["retry"]),
        (&json!(4), &json!("not_found"), &json!("never"))
    );
    assert_eq!(cluster.lentic(&["get", "payments", "p-18"]).code, 1);
}

fn takes_json(cluster: &Cluster) {
    let script = json!({"statements": [
        {"require": {"table": "payments", "key": "p-17", "value": "ann to bob: 5"}},
        {"get": {"table": "payments", "key": "none"}},
        {"put": {"table": "payments", "key_hex": "00ff", "value": "bytes"}},
        {"scan": {"table": "payments", "limit": 1}},
        {"delete": {"table": "payments", "key": "p-17"}},
        {"delete-range": {"table": "accounts", "start": "c", "end": "d"}},
    ]});
    let told = txn(cluster, &["--output", "json"], &script.to_string()).json().remove(0);
    assert_eq!(told["reads"][0], json!({"statement": 1, "table": "payments", "key": "none", "found": false}));
    assert_eq!(told["reads"][1]["rows"][0]["key_hex"], "00ff");
    assert_eq!(cluster.lentic(&["scan", "payments", "--count"]).ok(), "1\n");
}

fn takes_bytes_and_ends(cluster: &Cluster) {
    let script =
        "put payments 0a 0b0c --ttl 1h\nmerge payments 0d append 0e --ttl 0s\ndelete payments 00ff\nget payments 0a";
    let ended = txn(cluster, &["--hex", "--output", "plain"], script).ok();
    let lines: Vec<Vec<&str>> = ended.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((lines[0][0], &lines[1][..4]), ("committed", &["row", "3", "payments", "\\n"][..]));
    assert_eq!((lines[1][4], lines[1][6]), (lines[0][1], "\\x0b\\x0c"));
    assert!(lines[1][5].parse::<u64>().is_ok(), "it ends: {ended}");
    assert_eq!(cluster.lentic(&["scan", "payments", "--count"]).ok(), "1\n", "one has ended, one was deleted");
    let told = txn(cluster, &["--escaped"], "delete payments \\n\nscan payments").ok();
    assert!(told.starts_with("committed at v"), "{told}");
}

fn understands_all_before_it_sends(cluster: &Cluster) {
    let ended = txn(cluster, &["--output", "json"], "put payments p-19 x\nget payments");
    assert_eq!(ended.code, 2);
    assert_eq!(
        error(&ended),
        json!({"code": 2, "kind": "usage", "message": "line 2: there is no KEY; expected get TABLE KEY"})
    );
    assert_eq!(cluster.lentic(&["get", "payments", "p-19"]).code, 1);
    let missing = cluster.lentic(&["txn", "no/such/script"]);
    assert!(missing.code == 2 && missing.stderr.starts_with("error: no/such/script: No such file"), "{missing:?}");
    // Nobody is asked in a dry run, and what it shows is a script again.
    let nobody = "http://127.0.0.1:1";
    assert_eq!(lentic_with(nobody, &["txn", "-"], TRANSFER.as_bytes()).code, 3);
    let shown = lentic_with(nobody, &["txn", "-", "--dry-run"], TRANSFER.as_bytes()).ok();
    assert!(
        shown.starts_with("# 3 reads, 2 conditions, 3 writes; tables: 2; nothing was sent\nrequire payments"),
        "{shown}"
    );
    let file = cluster.home.path().join("shown").display().to_string();
    fs::write(&file, shown).unwrap();
    let again = cluster.lentic(&["txn", &file, "--escaped"]).ok();
    assert!(again.contains("payments  p-17  ann to bob: 5\ncommitted at v"), "{again}");
    assert_eq!([balance(cluster, "ann"), balance(cluster, "bob")], ["90\n", "110\n"]);
    let told = lentic(nobody, &["txn", &file, "--escaped", "--dry-run", "--output", "json"]).json().remove(0);
    let told = txn(cluster, &["--output", "json"], &told.to_string());
    assert_eq!((told.code, &error(&told)["position"]), (1, &json!(0)), "it was paid before");
}
