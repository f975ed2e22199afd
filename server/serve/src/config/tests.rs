//! Every knob by every way, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lentic_log::LogOptions;
use lentic_net::grpc::ServerKnobs;
use lentic_rocks::StoreOptions;
use lentic_types::Limits;
use proptest::prelude::*;

use super::*;

fn from_file(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lentic.toml");
    fs::write(&path, text).unwrap();
    let read = Config::read(&Sources { file: Some(path.clone()), ..Sources::default() });
    // A short path, for messages that do not depend on the directory.
    read.map_err(|error| match error {
        ConfigError::Unknown { key, origin: Origin::File { line, .. }, nearest } => {
            ConfigError::Unknown { key, origin: Origin::File { path: "lentic.toml".into(), line }, nearest }
        }
        ConfigError::Section { key, origin: Origin::File { line, .. } } => {
            ConfigError::Section { key, origin: Origin::File { path: "lentic.toml".into(), line } }
        }
        ConfigError::Wrong { key, origin: Origin::File { line, .. }, expected, found } => {
            ConfigError::Wrong { key, origin: Origin::File { path: "lentic.toml".into(), line }, expected, found }
        }
        ConfigError::Syntax { line, reason, .. } => ConfigError::Syntax { path: "lentic.toml".into(), line, reason },
        other => other,
    })
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::read(&Sources { environment, ..Sources::default() })
}

fn from_argument(key: &str, value: &str) -> Result<Config, ConfigError> {
    let argument = Argument { name: "--set".into(), key: key.into(), value: value.into() };
    Config::read(&Sources { arguments: vec![argument], ..Sources::default() })
}

fn message(result: Result<Config, ConfigError>) -> String {
    result.expect_err("a refusal").to_string()
}

/// The knobs as their owners see them.
fn owned(config: &Config) -> String {
    let (store, log) = (StoreOptions::from(&config.store), LogOptions::from(&config.log));
    let (limits, connections) = (Limits::from(&config.limits), ServerKnobs::from(&config.connections));
    format!("{store:?} {log:?} {limits:?} {connections:?}")
}

/// A value other than `value`, which is in TOML, of the same type: in TOML, and as a text.
fn other(key: &str, value: &str) -> (String, String) {
    let text = match key {
        "listen" | "http_listen" => "[::1]:7000",
        "advertise" | "http_advertise" => "node-1.example:7001",
        "join" => return (r#"["a:1", "[::1]:2"]"#.to_owned(), "a:1,http://[::1]:2".to_owned()),
        "data" => "/var/lib/lentic \\ \"x\"",
        "logging.format" => "json",
        "logging.level" => "warn,lentic_raft=trace",
        _ => match value {
            "true" => return ("false".into(), "false".into()),
            "false" => return ("true".into(), "true".into()),
            number => {
                let number: u64 = number.replace('_', "").parse().unwrap_or_else(|_| panic!("{key} is {number}"));
                return ((number + 1).to_string(), (number + 1).to_string());
            }
        },
    };
    (super::knob::quoted(text), text.to_owned())
}

#[test]
fn the_defaults_fit_and_are_those_of_their_owners() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(StoreOptions::from(&config.store), StoreOptions::default());
    assert_eq!(LogOptions::from(&config.log), LogOptions::default());
    assert_eq!(Limits::from(&config.limits), Limits::default());
    assert_eq!(ServerKnobs::from(&config.connections), ServerKnobs::default());
    assert_eq!(config.place.listen.to_string(), "127.0.0.1:7420");
    assert_eq!(config.place.http_listen.to_string(), "127.0.0.1:7421");
}

#[test]
fn every_knob_is_set_by_every_way_and_printed_as_it_is() {
    let keys = Config::default().keys();
    assert!(keys.len() > 50, "{} keys", keys.len());
    let mut seen = BTreeSet::from([owned(&Config::default())]);
    for (key, value) in keys {
        let (toml, text) = other(&key, &value);
        let (section, name) = key.rsplit_once('.').unwrap_or(("", &key));
        let section = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let changed = from_file(&format!("{section}{name} = {toml}\n")).unwrap();
        assert_ne!(changed, Config::default(), "{key}");
        assert!(seen.insert(format!("{changed:?}")), "{key} sets what another sets");
        let variable = format!("LENTIC_{}", key.to_uppercase().replace('.', "__"));
        assert_eq!(from_environment(&[(&variable, &text)]).as_ref(), Ok(&changed), "{variable}");
        assert_eq!(from_argument(&key, &text).as_ref(), Ok(&changed), "{key}");
        assert_eq!(from_file(&changed.print()).as_ref(), Ok(&changed), "{key}");
        let is_owned = ["store.", "log.", "limits.", "connections."].iter().any(|section| key.starts_with(section));
        // The node's own, though they stand with what they are about.
        let of_the_node = ["store.upkeep_ms", "connections.http_max", "log.slow_sync_ms", "log.slow_for_ms"];
        if is_owned && !of_the_node.contains(&key.as_str()) {
            assert!(seen.insert(owned(&changed)), "{key} reaches its owner as another knob");
        } else {
            assert_eq!(owned(&changed), owned(&Config::default()), "{key}");
        }
        let differences: Vec<_> =
            changed.keys().into_iter().zip(Config::default().keys()).filter(|(new, old)| new != old).collect();
        assert_eq!(differences.len(), 1, "{key}");
        assert_eq!(differences[0].0.0, key);
    }
}

#[test]
fn what_is_printed_says_what_each_knob_is_for() {
    let printed = Config::default().print();
    assert_eq!(from_file(&printed), Ok(Config::default()));
    for (key, value) in Config::default().keys() {
        let name = key.rsplit_once('.').map_or(key.as_str(), |(_, name)| name);
        let at = printed.find(&format!("\n{name} = {value}")).unwrap_or_else(|| panic!("{key} is printed"));
        assert!(printed[..at].lines().last().unwrap().starts_with("# "), "{key} has a comment");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 100));
    assert!(printed.contains("\n[store]\n"));
    assert!(printed.contains("\nmemtable_bytes = 67_108_864  # 64 MiB\n"), "{printed}");
    let changed = from_argument("store.memtable_bytes", "65536").unwrap().print();
    assert!(changed.contains("# Default: 67_108_864\nmemtable_bytes = 65_536  # 64 KiB\n"));
}

#[test]
fn later_sources_win() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lentic.toml");
    fs::write(&path, "data = \"file\"\n[raft]\nheartbeat_ms = 10\nelection_ms_min = 1000\nelection_ms_max = 2000\n")
        .unwrap();
    let mut sources = Sources { file: Some(path), ..Sources::default() };
    sources.environment = vec![
        ("LENTIC_RAFT__ELECTION_MS_MIN".into(), "1100".into()),
        ("LENTIC_RAFT__ELECTION_MS_MAX".into(), "2100".into()),
        ("PATH".into(), "/bin".into()),
    ];
    let argument = |key: &str, value: &str| Argument { name: "--x".into(), key: key.into(), value: value.into() };
    sources.arguments = vec![argument("raft.election_ms_max", "2200")];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.place.data, PathBuf::from("file"));
    assert_eq!((config.raft.heartbeat_ms, config.raft.election_ms_min, config.raft.election_ms_max), (10, 1100, 2200));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    assert_eq!(
        message(from_file("# comment\nlisten = \"127.0.0.1:1\"\n\n[store]\nmemtable_byts = 1\n")),
        "lentic.toml, line 5: unknown key `store.memtable_byts`; the nearest known key is `store.memtable_bytes`"
    );
    assert_eq!(
        message(from_file("[stoer]\nmemtable_bytes = 1\n")),
        "lentic.toml, line 1: unknown key `stoer`; the nearest known key is `store`"
    );
    assert_eq!(
        message(from_file("heartbeat_ms = 1\n")),
        "lentic.toml, line 1: unknown key `heartbeat_ms`; the nearest known key is `raft.heartbeat_ms`"
    );
    assert_eq!(
        message(from_file("[store.deep]\nx = 1\n")),
        "lentic.toml, line 1: unknown key `store.deep`; the nearest known key is `store`"
    );
    assert_eq!(
        message(from_file("store = 5\n")),
        "lentic.toml, line 1: `store` is a section, not a knob; set its knobs, as in [store] of a file"
    );
    assert_eq!(
        message(from_environment(&[("LENTIC_LISTENS", "127.0.0.1:1")])),
        "environment variable LENTIC_LISTENS: unknown key `listens`; the nearest known key is `listen`"
    );
    assert_eq!(
        message(from_environment(&[("LENTIC_STORE_MEMTABLE_BYTES", "1")])),
        "environment variable LENTIC_STORE_MEMTABLE_BYTES: unknown key `store_memtable_bytes`; the nearest known key is \
         `store.memtable_bytes`"
    );
    assert_eq!(
        message(from_argument("raft.hartbeat_ms", "1")),
        "argument --set: unknown key `raft.hartbeat_ms`; the nearest known key is `raft.heartbeat_ms`"
    );
    // The first in the file is the one that is told.
    assert!(message(from_file("[raft]\nzz = 1\n[cluster]\naa = 1\n")).contains("line 2: unknown key `raft.zz`"));
}

#[test]
fn wrong_values_say_what_was_expected() {
    assert_eq!(
        message(from_file("[store]\n\nmemtable_bytes = \"64MB\"\n")),
        "lentic.toml, line 3: expected `store.memtable_bytes` to be a whole number from 0 to \
         18_446_744_073_709_551_615, found \"64MB\""
    );
    assert_eq!(
        message(from_file("listen = 7420\n")),
        "lentic.toml, line 1: expected `listen` to be an IP address and a port, as in \"127.0.0.1:7420\", found 7420"
    );
    assert_eq!(
        message(from_environment(&[("LENTIC_STORE__OPEN_FILES_MAX", "70000")])),
        "environment variable LENTIC_STORE__OPEN_FILES_MAX: expected `store.open_files_max` to be a whole number from 0 to \
         65_535, found \"70000\""
    );
    assert_eq!(
        message(from_argument("logging.format", "xml")),
        "argument --set: expected `logging.format` to be \"text\" or \"json\", found \"xml\""
    );
    for text in [
        "store = 1",
        "listen = {}",
        "[[store]]",
        "join = \"a:1\"",
        "join = [1]",
        "[logging]\nlevel = \"loud\"",
        "[store]\nautomatic_compaction = 1",
        "[store]\nmemtable_bytes = -1",
        "[store]\nmemtable_bytes = 1.5",
        "[store]\nmemtable_bytes = 2000-01-01",
        "advertise = \"nowhere\"",
        "data = \"\"",
    ] {
        let error = from_file(text).expect_err(text);
        let is_about_it =
            matches!(error, ConfigError::Wrong { .. } | ConfigError::Unknown { .. } | ConfigError::Section { .. });
        assert!(is_about_it, "{text}: {error}");
    }
    let long = "x".repeat(10_000);
    assert!(message(from_argument("logging.format", &long)).len() < 300);
    assert!(message(from_argument(&long, "1")).len() < 300);
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let told = message(from_file("listen = \"127.0.0.1:1\"\n[store\n"));
    assert!(told.starts_with("lentic.toml, line 2: "), "{told}");
    assert!(!told.contains('\n'));
    let told = message(from_file("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n"));
    assert!(told.starts_with("lentic.toml, line 2: "), "{told}");
    let missing = Sources { file: Some("/no/such/file.toml".into()), ..Sources::default() };
    assert!(matches!(Config::load(&missing), Err(ConfigError::Read { .. })));
    let directory = Sources { file: Some("/".into()), ..Sources::default() };
    assert!(matches!(Config::load(&directory), Err(ConfigError::Read { .. })));
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [
        ("LENTIC_SERVICE_HOST", "10.0.0.1"),
        ("LENTIC_SERVICE_PORT", "7420"),
        ("LENTIC_SERVICE_PORT_GRPC", "7420"),
        ("LENTIC_PORT", "tcp://10.0.0.1:7420"),
        ("LENTIC_PORT_7420_TCP", "tcp://10.0.0.1:7420"),
        ("LENTIC_PORT_7420_TCP_ADDR", "10.0.0.1"),
        ("LENTIC_HTTP_SERVICE_HOST", "10.0.0.1"),
        ("LENTIC_HTTP_PORT_7421_TCP_PROTO", "tcp"),
        ("LENTICULAR", "1"),
        ("lentic_listen", "1"),
    ];
    assert_eq!(from_environment(&others), Ok(Config::default()));
    assert!(from_environment(&[("LENTIC_PORTS", "1")]).is_err());
    let environment = vec![("LENTIC_NODES".to_owned(), "a:1".to_owned())];
    let foreign_variables = BTreeSet::from(["LENTIC_NODES".to_owned()]);
    assert!(Config::read(&Sources { environment: environment.clone(), ..Sources::default() }).is_err());
    assert!(Config::read(&Sources { environment, foreign_variables, ..Sources::default() }).is_ok());
}

#[test]
fn knobs_that_make_no_node_are_named() {
    let check = |key: &str, value: &str| from_argument(key, value).unwrap().check().expect_err(key).to_string();
    assert_eq!(
        check("raft.election_ms_min", "299"),
        "section [raft]: election_ms_min is 299, expected at least 300, three times heartbeat_ms"
    );
    assert_eq!(
        check("raft.election_ms_max", "300"),
        "section [raft]: election_ms_max is 300, expected more than 300, which election_ms_min is"
    );
    assert_eq!(
        check("listen", "0.0.0.0:7420"),
        "expected `advertise`, for 0.0.0.0:7420 is no address that others can reach; set it to the host and port where \
         they find this node"
    );
    assert!(check("http_listen", "[::]:1").contains("`http_advertise`"));
    assert!(check("cluster.replicas", "2").starts_with("section [cluster]: replicas is 2, expected 1, 3 or 5"));
    assert!(check("store.memtable_bytes", "1").starts_with("section [store]: store option memtable_bytes is 1"));
    assert!(check("log.segment_bytes", "1").starts_with("section [log]: segment_bytes is 1"));
    assert!(check("limits.key_bytes_max", "0").starts_with("section [limits]: "));
    assert!(check("limits.key_bytes_max", "1000000").starts_with("section [limits]: "));
    for key in ["requests.deadline_ms", "connections.max", "connections.http_max", "shards.queue_bytes_max"] {
        let (section, name) = key.split_once('.').unwrap();
        assert!(check(key, "0").starts_with(&format!("section [{section}]: {name} is 0, expected at least ")), "{key}");
    }
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(text in "[a-z_.\\[\\]=\"0-9 \n{}']{0,80}") {
        let _ = from_file(&text);
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(position in 0usize..60, text in "\\PC{0,12}") {
        let keys = Config::default().keys();
        let (key, _) = &keys[position % keys.len()];
        if let Ok(config) = from_argument(key, &text) {
            prop_assert_eq!(from_file(&config.print()), Ok(config.clone()));
            let _ = config.check();
        }
    }
}
