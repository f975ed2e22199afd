//! Golden scripts: scenarios of one shard as text files, with what the machine answered.
//!
//! A script is a file beside this one, in a folder by command. It holds blocks of commands ([`command`], and [`request`]
//! for what goes through the log), each with its output below `---`. To write one: add a file with commands and bare
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
#[path = "../../../engine/tests/scripts/notation.rs"]
#[allow(dead_code, reason = "the engine's scripts use all of the notation")]
mod notation;
mod print;
mod replica;
mod request;
mod runner;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    acquire { many owned rescale zombie }
    answers { acked age commands issued refusals retry }
    conditions { exists_absent value version }
    delete_range { live_keys owned too_large }
    errors { fatal limits shape }
    merge { after_rollback fold too_large wrong_kind }
    release { release }
    rollback { fences refused state twice }
    watermark { raise }
    write { blind empty expiry one_entry refused_leaves_no_trace same_key }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

fn play(script: &str) {
    goldenscript::run(&mut Runner::new(), folder().join(script)).expect("the script plays as it is written");
}

#[test]
fn every_script_is_played() {
    let listing = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let subjects = listing(&folder()).filter(|path| path.is_dir());
    let files: BTreeSet<_> = subjects.flat_map(|subject| listing(&subject).collect::<Vec<_>>()).collect();
    let played: BTreeSet<_> = SCRIPTS.iter().map(|script| folder().join(script)).collect();
    assert_eq!(files, played, "name each script in the list above");
}
