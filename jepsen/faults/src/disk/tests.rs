//! What ext4 keeps and loses, and what is refused: the module's tables, held to.

use super::{Disk, DiskError, Kind};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const BYTES: u64 = 32 << 20;

/// A disk below a directory of its own, which is to be dropped after it; none, with the reason printed, where this process may not mount.
fn disk() -> Option<(TempDir, Disk)> {
    let home = tempfile::tempdir().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("Linux says so");
    let may_mount = u64::from_str_radix(capabilities.trim(), 16).unwrap() & (1 << 21) != 0;
    if !may_mount || !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: this needs the capability SYS_ADMIN, and loop devices");
        return None;
    }
    let disk = Disk::new(home.path(), "n1", BYTES).unwrap();
    Some((home, disk))
}

fn written(path: &Path, bytes: &[u8]) -> File {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Does something to the files, cuts the power and restores it.
fn over_a_power_failure(disk: &mut Disk, before: impl FnOnce(&Path)) {
    before(disk.path());
    disk.cut_power().unwrap();
    disk.restore().unwrap();
}

fn sync_directory(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// Whether the kernel has something mounted with this in its line.
fn is_mounted(part: &str) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(part)
}

#[test]
fn what_was_synced_is_there_and_what_was_not_is_gone() {
    let Some((_home, mut disk)) = disk() else { return };
    let path = disk.path().to_owned();
    over_a_power_failure(&mut disk, |data| {
        let overwritten = written(&data.join("overwritten"), b"before");
        overwritten.sync_all().unwrap();
        let mut appended = written(&data.join("appended"), b"synced");
        appended.sync_data().unwrap();
        overwritten.write_all_at(b"after!", 0).unwrap();
        appended.write_all(b"not synced").unwrap();
        written(&data.join("lost"), b"never synced");
    });
    assert_eq!(disk.path(), path);
    assert_eq!(fs::read(path.join("appended")).unwrap(), b"synced");
    assert_eq!(fs::read(path.join("overwritten")).unwrap(), b"before");
    assert!(!path.join("lost").exists());
}

#[test]
fn a_synced_file_is_there_though_its_directory_was_not_synced() {
    let Some((_home, mut disk)) = disk() else { return };
    over_a_power_failure(&mut disk, |data| {
        fs::create_dir(data.join("new")).unwrap();
        written(&data.join("new/file"), b"synced").sync_data().unwrap();
    });
    assert_eq!(fs::read(disk.path().join("new/file")).unwrap(), b"synced");
}

#[test]
fn names_become_durable_with_any_sync_and_contents_with_their_own() {
    let Some((_home, mut disk)) = disk() else { return };
    over_a_power_failure(&mut disk, |data| {
        written(&data.join("by-directory"), b"not synced");
        sync_directory(data);
        written(&data.join("by-another"), b"not synced");
        written(&data.join("another"), b"synced").sync_all().unwrap();
    });
    assert_eq!(fs::read(disk.path().join("by-directory")).unwrap(), b"");
    assert_eq!(fs::read(disk.path().join("by-another")).unwrap(), b"");
}

#[test]
fn the_length_of_a_file_can_be_durable_before_its_last_bytes() {
    let Some((_home, mut disk)) = disk() else { return };
    over_a_power_failure(&mut disk, |data| {
        let mut file = written(&data.join("appended"), b"synced");
        file.sync_all().unwrap();
        file.write_all(b"lost").unwrap();
        written(&data.join("another"), b"synced").sync_all().unwrap();
    });
    assert_eq!(fs::read(disk.path().join("appended")).unwrap(), b"synced\0\0\0\0");
}

#[test]
fn renames_and_removals_that_were_not_synced_have_not_been() {
    let Some((_home, mut disk)) = disk() else { return };
    over_a_power_failure(&mut disk, |data| {
        for name in ["renamed", "removed"] {
            written(&data.join(name), name.as_bytes()).sync_all().unwrap();
        }
        sync_directory(data);
        fs::rename(data.join("renamed"), data.join("new")).unwrap();
        fs::remove_file(data.join("removed")).unwrap();
    });
    assert_eq!(fs::read(disk.path().join("renamed")).unwrap(), b"renamed");
    assert_eq!(fs::read(disk.path().join("removed")).unwrap(), b"removed");
    assert!(!disk.path().join("new").exists());
}

#[test]
fn a_rename_over_a_file_does_not_sync_the_contents() {
    let Some((_home, mut disk)) = disk() else { return };
    over_a_power_failure(&mut disk, |data| {
        for (name, is_synced) in [("careful", true), ("careless", false)] {
            written(&data.join(name), b"old").sync_all().unwrap();
            let new = written(&data.join("new"), b"new");
            if is_synced {
                new.sync_all().unwrap();
            }
            fs::rename(data.join("new"), data.join(name)).unwrap();
        }
        sync_directory(data);
    });
    assert_eq!(fs::read(disk.path().join("careful")).unwrap(), b"new");
    assert_eq!(fs::read(disk.path().join("careless")).unwrap(), b"");
}

#[test]
fn preallocated_space_is_zeros_until_its_bytes_are_synced() {
    let Some((_home, mut disk)) = disk() else { return };
    over_a_power_failure(&mut disk, |data| {
        let file = File::create(data.join("log")).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, 16384).unwrap();
        file.sync_all().unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[2; 4096], 4096).unwrap();
    });
    let expected = [vec![1; 4096], vec![0; 12288]].concat();
    assert!(fs::read(disk.path().join("log")).unwrap() == expected);
}

#[test]
fn without_power_nothing_is_read_or_written_and_each_restoration_starts_anew() {
    let Some((_home, mut disk)) = disk() else { return };
    for round in 0..3_u8 {
        let mut file = OpenOptions::new().create(true).append(true).open(disk.path().join("rounds")).unwrap();
        file.write_all(&[round]).unwrap();
        file.sync_all().unwrap();
        disk.cut_power().unwrap();
        assert!(file.write_all(b"more").and_then(|()| file.sync_all()).is_err());
        assert!(File::create(disk.path().join("new")).is_err());
        assert!(fs::read(disk.path().join("rounds")).is_err());
        drop(file);
        disk.restore().unwrap();
        assert_eq!(fs::read(disk.path().join("rounds")).unwrap(), (0..=round).collect::<Vec<_>>());
    }
}

#[test]
fn a_restoration_waits_for_those_who_use_the_disk_and_can_be_asked_again() {
    let Some((_home, mut disk)) = disk() else { return };
    let file = written(&disk.path().join("file"), b"synced");
    file.sync_all().unwrap();
    disk.cut_power().unwrap();
    let busy = disk.restore_within(Duration::from_millis(20));
    assert!(matches!(busy, Err(DiskError::Busy { .. })), "{busy:?}");
    drop(file);
    disk.restore().unwrap();
    assert_eq!(fs::read(disk.path().join("file")).unwrap(), b"synced");
}

#[test]
fn a_full_disk_takes_what_is_left_of_it_and_no_more() {
    let Some((_home, mut disk)) = disk() else { return };
    let mut before = written(&disk.path().join("before"), b"before");
    before.sync_all().unwrap();
    disk.fill(1 << 20).unwrap();
    let mut file = File::create(disk.path().join("file")).unwrap();
    let mut taken = 0;
    let error = loop {
        match file.write_all(&[3; 4096]) {
            Ok(()) => taken += 4096,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!((900 << 10..=1 << 20).contains(&taken), "{taken}");
    file.sync_all().unwrap();
    // It stays full over a power failure, can be filled further, and then takes nothing at all.
    drop((file, before));
    disk.cut_power().unwrap();
    disk.restore().unwrap();
    fs::remove_file(disk.path().join("file")).unwrap();
    disk.fill(0).unwrap();
    before = OpenOptions::new().append(true).open(disk.path().join("before")).unwrap();
    let refused = before.write_all(&[4; 4096]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert_eq!(fs::read(disk.path().join("before")).unwrap()[..6], *b"before");
    // All of it is given back, though somebody has the ballast open.
    let _open = File::open(disk.path().with_file_name("ballast")).unwrap();
    disk.free().unwrap();
    before.write_all(&[4; 1 << 20]).unwrap();
    before.sync_all().unwrap();
    disk.free().unwrap();
}

#[test]
fn a_read_only_disk_serves_reads_refuses_writes_and_keeps_what_was_synced() {
    let Some((_home, mut disk)) = disk() else { return };
    let mut file = written(&disk.path().join("open"), b"synced");
    file.sync_all().unwrap();
    disk.turn_read_only().unwrap();
    assert_eq!(file.write_all(b"more").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(File::create(disk.path().join("new")).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read(disk.path().join("open")).unwrap(), b"synced");
    drop(file);
    disk.restore().unwrap();
    assert_eq!(fs::read(disk.path().join("open")).unwrap(), b"synced");
    written(&disk.path().join("open"), b"writable").sync_all().unwrap();
    disk.cut_power().unwrap();
    disk.restore().unwrap();
    assert_eq!(fs::read(disk.path().join("open")).unwrap(), b"writable");
}

#[test]
fn a_disk_that_was_read_only_has_the_space_of_files_that_were_removed_while_open() {
    let Some((_home, mut disk)) = disk() else { return };
    let free_blocks = |disk: &Disk| statvfs(disk.path()).unwrap().f_bfree;
    let before = free_blocks(&disk);
    let open = written(&disk.path().join("open"), &[5; 1 << 20]);
    open.sync_all().unwrap();
    fs::remove_file(disk.path().join("open")).unwrap();
    sync_directory(disk.path());
    disk.turn_read_only().unwrap();
    drop(open);
    disk.restore().unwrap();
    assert_eq!(free_blocks(&disk), before);
}

#[test]
fn a_plain_directory_says_what_it_cannot() {
    let home = tempfile::tempdir().unwrap();
    let mut disk = Disk::plain(home.path(), "n1").unwrap();
    written(&disk.path().join("file"), b"kept").sync_all().unwrap();
    let refused = [disk.cut_power(), disk.fill(0), disk.free(), disk.turn_read_only(), disk.restore()];
    for refusal in refused {
        assert!(matches!(refusal, Err(DiskError::Plain { .. })), "{refusal:?}");
    }
    assert!(matches!(disk.probe(), Err(DiskError::Plain { .. })));
    assert_eq!(fs::read(disk.path().join("file")).unwrap(), b"kept");
    drop(disk);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_best_disk_is_a_plain_directory_only_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let small = Disk::best(home.path(), "n1", 4096).unwrap();
    let Kind::Plain { why } = small.kind() else { panic!("mounted with no room for anything: {}", small.kind()) };
    assert!(why.contains("expected a disk of 16777216 bytes at least"), "{why}");
    let Some((_home, _disk)) = disk() else { return };
    let large = Disk::best(home.path(), "n2", BYTES).unwrap();
    assert!(matches!(large.kind(), Kind::Mounted { .. }), "{}", large.kind());
}

#[test]
fn nothing_is_left_of_a_disk_though_it_is_in_use() {
    let Some((home, disk)) = disk() else { return };
    let Kind::Mounted { device } = disk.kind() else { panic!("{}", disk.kind()) };
    assert!(is_mounted(&disk.path().parent().unwrap().display().to_string()));
    let mut file = written(&disk.path().join("open"), b"still there");
    drop(disk);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    assert!(!is_mounted(&home.path().display().to_string()));
    // The last user is not harmed, and the device is free with its end.
    file.write_all(b"more").unwrap();
    drop(file);
    let backing = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")).unwrap_or_default();
    assert!(!backing.contains(&home.path().display().to_string()), "{backing}");
}

#[test]
fn what_dead_processes_left_is_removed_and_what_living_ones_have_is_not() {
    let Some((home, disk)) = disk() else { return };
    // A process that has ended: its disk looks like one that was left.
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    let process = dead.id();
    dead.wait().unwrap();
    let root = home.path().join(format!("n1.{process}.disk"));
    let image = home.path().join(format!("n1.{process}.image"));
    let made = super::image::Image::make(image.clone(), root.clone(), BYTES).unwrap();
    std::mem::forget(made);
    let plain = home.path().join(format!("n1.{process}.plain"));
    fs::create_dir_all(plain.join("data")).unwrap();
    fs::write(home.path().join("stranger"), b"mine").unwrap();
    let other = Disk::new(home.path(), "n2", BYTES).unwrap();
    assert!(!is_mounted(&root.display().to_string()));
    assert!(!root.exists() && !image.exists() && !plain.exists());
    assert!(is_mounted(&disk.path().parent().unwrap().display().to_string()));
    assert!(is_mounted(&other.path().parent().unwrap().display().to_string()));
    assert!(home.path().join("stranger").exists());
}

#[test]
fn a_name_is_taken_once_and_is_a_name() {
    let home = tempfile::tempdir().unwrap();
    let first = Disk::plain(home.path(), "n1").unwrap();
    assert!(matches!(Disk::plain(home.path(), "n1"), Err(DiskError::Io { .. })));
    assert!(first.path().exists(), "the second took the first away");
    for name in ["", "a/b", "..", "a.b"] {
        assert!(matches!(Disk::plain(home.path(), name), Err(DiskError::Name(_))), "{name}");
    }
}

#[test]
fn the_probe_says_what_it_measured_and_leaves_nothing() {
    let Some((_home, mut disk)) = disk() else { return };
    let found = disk.probe().unwrap();
    eprintln!("{found:#?}");
    assert_eq!(found.len(), 3);
    assert!(found[0].contains("restored in"), "{found:?}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    let mut file = written(&disk.path().join("file"), b"usable");
    file.sync_all().unwrap();
    let mut bytes = Vec::new();
    file = File::open(disk.path().join("file")).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"usable");
}
