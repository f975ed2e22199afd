//! Bytes of a node that are not what was written.
//!
//! Only what the node can find out is damaged: a segment of the log that others follow, or a table of the store. The
//! last segment ends where the last write did, and who shortens it has undone that write: no log can tell.

use std::fs;
use std::path::{Path, PathBuf};

use lentic_faults::disk::{Damage, Damaged, damage};

use super::struck::{Arena, Memory};

/// A file that was damaged.
pub(crate) struct Wound {
    damaged: Damaged,
    /// All of the file as it was.
    was: Vec<u8>,
}

/// Kills a node, damages one of its files, and starts it again.
pub(super) fn strike(arena: &mut Arena<'_>, place: usize) -> Memory {
    let node = &mut arena.cluster.nodes[place];
    node.kill();
    let what = if arena.dice.one_in(3) { Damage::ZeroPage } else { Damage::Flip };
    let files = candidates(node.data(), arena.dice.one_in(2));
    let file = (!files.is_empty()).then(|| files[arena.dice.place(files.len())].clone());
    let wound = file.and_then(|file| {
        let was = fs::read(&file).expect("a file of a node that is down can be read");
        let directory = file.parent().expect("a file is in a directory");
        let random = arena.dice.between(0..=u64::MAX - 1);
        let damaged = damage(directory, |path| path == file, what, random);
        Some(Wound { damaged: damaged.expect("a file of a node that is down can be written")?, was })
    });
    node.start();
    match wound {
        Some(wound) => Memory::Damaged(wound),
        None => Memory::Over("there was no closed segment and no table to be damaged".to_owned()),
    }
}

/// Puts the bytes back as an operator does that has a copy, and starts the node.
///
/// # Panics
/// If the node ended and does not say which file is to blame.
pub(super) async fn mend(arena: &mut Arena<'_>, place: usize, wound: Wound) -> String {
    let Wound { damaged, was } = wound;
    let node = &mut arena.cluster.nodes[place];
    let name = damaged.file.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let found = match node.ended() {
        Some(status) => {
            assert!(!status.success(), "{} says that all is well, and {damaged}", node.name());
            assert!(node.log_tail().contains(&name), "{} ended and does not name {name}", node.name());
            "the node refused it"
        }
        None if node.log_tail().contains(&name) => "the node found it and went on without what it was part of",
        None => "nobody had read it so far",
    };
    node.kill();
    // It may have been deleted, or written anew, if the node went on.
    if let Ok(now) = fs::read(&damaged.file)
        && now.len() == was.len()
    {
        fs::write(&damaged.file, &was).expect("a file of a node that is down can be written");
    }
    node.start();
    format!("{damaged}; {found}")
}

/// The files of a node whose damage it can find out: those of its log, or tables of its store.
fn candidates(data: &Path, of_log: bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(data, &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == if of_log { "log" } else { "sst" }));
    files.sort();
    if of_log {
        // Segments are numbered: the last one is written to.
        files.pop();
    }
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
