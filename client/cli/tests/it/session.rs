//! Scripts of sessions with one node: client/cli/tests/sessions.
//!
//! `lentic "put t k v"` runs the binary and shows what it writes and, if it is not 0, its exit code. Arguments are split
//! at blanks, and `␣` stands for a blank in one. Versions and times are shown as `v…` and `TIME`; `remember NAME` keeps
//! the version that was written last, for `$NAME`.

use std::collections::BTreeMap;
use std::error::Error;

use goldenscript::{Argument, Command, Context, Runner};

use crate::process::Cluster;

struct Session {
    cluster: Cluster,
    last: String,
    remembered: BTreeMap<String, String>,
}

impl Runner for Session {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let Some(Argument::Positional(line)) = command.args.first() else { return Err("expected one argument".into()) };
        match &*command.name {
            "remember" => {
                self.remembered.insert(format!("${line}"), self.last.clone());
                Ok(String::new())
            }
            "lentic" => {
                let word = |word: &str| self.remembered.get(word).cloned().unwrap_or_else(|| word.replace('␣', " "));
                let words: Vec<String> = line.split_whitespace().map(word).collect();
                let ended = self.cluster.lentic(&words.iter().map(String::as_str).collect::<Vec<_>>());
                if ended.stdout.starts_with('v') {
                    self.last = ended.stdout.trim().to_owned();
                }
                let code = if ended.code == 0 { String::new() } else { format!("exit {}\n", ended.code) };
                Ok(without_versions(&format!("{}{}{code}", ended.stdout, ended.stderr)))
            }
            name => Err(format!("unknown command {name}").into()),
        }
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
    for script in ["keys", "merges", "ranges", "tables", "refused"] {
        let path = format!("tests/sessions/{script}");
        goldenscript::run(&mut session, &path).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}
