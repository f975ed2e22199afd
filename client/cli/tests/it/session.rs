//! Scripts of sessions with one node: client/cli/tests/sessions.
//!
//! `lentic "put t k v"` runs the binary and shows what it writes and, if it is not 0, its exit code. Arguments are split
//! at blanks, and `␣` stands for a blank in one. Versions, times and ids of clusters are shown as `v…`, `TIME` and
//! `CLUSTER`, and what is no text as an escape; `remember NAME` keeps the version or the fence that was written last, for
//! `$NAME`.
//! `settle` waits until the node has told the cluster which shards it leads, which it does once a second.

use std::collections::BTreeMap;
use std::error::Error;

use goldenscript::{Argument, Command, Context, Runner};

use crate::process::{Cluster, until};

struct Session {
    cluster: Cluster,
    last: String,
    remembered: BTreeMap<String, String>,
}

impl Runner for Session {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let line = match command.args.first() {
            Some(Argument::Positional(line)) => line.clone(),
            _ => String::new(),
        };
        match &*command.name {
            "remember" => {
                self.remembered.insert(format!("${line}"), self.last.clone());
                Ok(String::new())
            }
            "settle" => {
                until("a status that counts each leader", || {
                    let status = self.cluster.lentic(&["status", "--output", "json"]).json().remove(0);
                    status["healthy"] == true && status["nodes"][0]["leaders"] == status["shard_count"]
                });
                Ok(String::new())
            }
            "lentic" => {
                let word = |word: &str| self.remembered.get(word).cloned().unwrap_or_else(|| word.replace('␣', " "));
                let words: Vec<String> = line.split_whitespace().map(word).collect();
                let ended = self.cluster.lentic(&words.iter().map(String::as_str).collect::<Vec<_>>());
                let told = ended.stdout.trim();
                if told.strip_prefix('v').unwrap_or(told).parse::<u64>().is_ok() {
                    self.last = told.to_owned();
                }
                let code = if ended.code == 0 { String::new() } else { format!("exit {}\n", ended.code) };
                Ok(without_versions(&readable(&format!("{}{}{code}", ended.stdout, ended.stderr))))
            }
            name => Err(format!("unknown command {name}").into()),
        }
    }
}

/// The text with what is no text in it as escapes, and without the cluster's id.
fn readable(text: &str) -> String {
    let shown = |it: char| {
        if it.is_control() && it != '\n' && it != '\t' { it.escape_default().to_string() } else { it.into() }
    };
    let text: String = text.chars().map(shown).collect();
    match text.strip_prefix("cluster ").and_then(|rest| rest.split_once(',')) {
        Some((_, rest)) => format!("cluster CLUSTER,{rest}"),
        None => text,
    }
}

/// The text with versions and times as words, and with addresses without their ports.
fn without_versions(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(|it: char| it.is_ascii_digit()) {
        let length =
            rest[at..].find(|it: char| !it.is_ascii_digit() && !"-:.TZ".contains(it)).unwrap_or(rest.len() - at);
        let (number, digits) = (&rest[at..at + length], rest[at..].bytes().take_while(u8::is_ascii_digit).count());
        out.push_str(&rest[..at]);
        if number.len() >= 24 && number.contains('T') && number.ends_with('Z') {
            out.push_str("TIME");
            rest = &rest[at + length..];
        } else if digits >= 17 {
            out.push('…');
            rest = &rest[at + digits..];
        } else if number.starts_with("127.0.0.1:") {
            out.push_str("NODE");
            rest = &rest[at + length..];
        } else {
            out.push_str(&rest[at..at + digits]);
            rest = &rest[at + digits..];
        }
    }
    out + rest
}

#[test]
fn sessions_with_one_node() {
    let cluster = Cluster::start("1");
    let mut session = Session { cluster, last: String::new(), remembered: BTreeMap::new() };
    for script in ["keys", "merges", "ranges", "tables", "refused", "owners", "history"] {
        let path = format!("tests/sessions/{script}");
        goldenscript::run(&mut session, &path).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}
