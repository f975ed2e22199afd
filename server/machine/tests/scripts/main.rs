//! Golden scripts: scenarios of one shard, of the meta group, and of the oracle as text files, with what they answered.
//!
//! A script is a file beside this one, in a folder by command, and in `meta` or `oracle` for those ([`meta_runner`],
//! [`oracle_runner`]). It holds blocks of commands ([`command`], and [`request`] for what goes through the log), each with
//! its output below `---`. To write one: add a file with commands and bare
//! `---` lines, name it in the list below, run
//!
//! ```text
//! UPDATE_GOLDENFILES=1 cargo test -p lentic-machine --test scripts
//! ```
//!
//! and read what came out as critically as code: from then on it is the expected answer.
//!
//! What a script prints is not all that is checked. Each entry goes through its bytes, as in the log; it is applied with
//! and without the memo of heads, which must do the same; an entry without effect must leave nothing but answers; and all
//! invariants must hold after it. A crash replays what was lost, which must be answered as before.

mod command;
mod meta_print;
mod meta_runner;
#[path = "../../../engine/tests/scripts/notation.rs"]
#[allow(dead_code, reason = "the engine's scripts use all of the notation")]
mod notation;
mod oracle_runner;
mod print;
mod print_txn;
mod replica;
mod request;
mod runner;
mod time;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use meta_runner::MetaRunner;
use oracle_runner::OracleRunner;
use runner::Runner;

/// Makes one test of each script, named after it, and the list of all.
macro_rules! scripts {
    ($($folder:ident { $($script:ident)* })*) => {
        $(mod $folder {
            $(#[test]
            fn $script() {
                super::play(concat!(stringify!($folder), "/", stringify!($script)));
            })*
        })*

        const SCRIPTS: &[&str] = &[$($(concat!(stringify!($folder), "/", stringify!($script)),)*)*];
    };
}

scripts! {
    answers { acked age attempts commands declined issued kept_refusal refusal_not_kept refusals retry }
    branch { drop gc merges reads_through rollback transactions }
    conditions { exists_absent ranges unchanged_since value version }
    decide { anchor first_wins forgotten without_prepare }
    delete_range { live_keys owned too_large }
    errors { fatal limits shape txns }
    merge { after_rollback fold too_large wrong_kind }
    meta {
        balance branches branches_refused create_table create_table_refused drop_table entries extend_window issue_clients moves node_state pins pins_refused register_node
        set_cluster set_replicas split split_refused
    }
    oracle { clocks first garbage idle leaders stopped window }
    prepare {
        abort blocks commit ended keeps_the_end keys oldest parts
        range_of_shard ranges refused restart shares twice valid_until
    }
    pairs {
        feed_gc fence_retry pin_gc rollback_feed rollback_gc rollback_lock split_feed split_fence split_prepare split_retry
        split_rollback ttl_snapshot
    }
    release { part release }
    resolve { again bounds hearsay merges named order two_outcomes }
    split { crash entry divides refused }
    status { forgotten never_came status }
    take { across fences many owned refused rescale several state to_a_pin twice zombie }
    ttl { table transaction }
    watermark { collect pins raise }
    write { blind empty expiry one_entry refused_leaves_no_trace same_key }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

fn play(script: &str) {
    let path = folder().join(script);
    let played = match script.split_once('/') {
        Some(("meta", _)) => goldenscript::run(&mut MetaRunner::default(), path),
        Some(("oracle", _)) => goldenscript::run(&mut OracleRunner::new(), path),
        _ => goldenscript::run(&mut Runner::new(), path),
    };
    played.expect("the script plays as it is written");
}

#[test]
fn every_script_is_played() {
    let listing = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let subjects = listing(&folder()).filter(|path| path.is_dir());
    let files: BTreeSet<_> = subjects.flat_map(|subject| listing(&subject).collect::<Vec<_>>()).collect();
    let played: BTreeSet<_> = SCRIPTS.iter().map(|script| folder().join(script)).collect();
    assert_eq!(files, played, "name each script in the list above");
}
