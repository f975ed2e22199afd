//! Golden scripts: scenarios as text files, with what the engine answered.
//!
//! A script is a file beside this one, in a folder by subject. It holds blocks of commands ([`command`]), each with
//! its output below `---`. To write one: add a file with commands and bare `---` lines, name it in the list below, run
//!
//! ```text
//! UPDATE_GOLDENFILES=1 cargo test -p lentic-engine --test scripts
//! ```
//!
//! and read what came out as critically as code: from then on it is the expected answer.

mod command;
mod notation;
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
    gc { chains crash durable expiry masks pins ranges tombstones watermark }
    keys { escapes order tables }
    mask { before_and_after chains nested overlapping parts undone }
    merge { bytes chain_bounds chain_breaks chains expiry floats integers kinds same_version sets too_large }
    read { cost expiry head multi_get tombstones versions }
    scan { cost directions dead_keys limits masks resume }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

fn play(script: &str) {
    let outcome = goldenscript::run(&mut Runner::new(), folder().join(script));
    outcome.unwrap_or_else(|reason| panic!("{script}: {reason}"));
}

#[test]
fn every_script_is_played() {
    let listing = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let subjects = listing(&folder()).filter(|path| path.is_dir());
    let files: BTreeSet<_> = subjects.flat_map(|subject| listing(&subject).collect::<Vec<_>>()).collect();
    let played: BTreeSet<_> = SCRIPTS.iter().map(|script| folder().join(script)).collect();
    assert_eq!(files, played, "name each script in the list above");
}
