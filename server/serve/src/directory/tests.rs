//! Directories that are taken, and those that are not.

use super::*;

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn open(path: &Path) -> Result<DataDirectory, DirectoryError> {
    DataDirectory::open(path, || [9; 16])
}

/// A directory as it is once its node has run.
fn make_ready(path: &Path) {
    let mut directory = open(path).unwrap();
    directory.become_member(CLUSTER, NodeId(3)).unwrap();
    fs::create_dir(directory.log()).unwrap();
    fs::create_dir(directory.store()).unwrap();
    fs::write(directory.log().join("1.log"), "entries").unwrap();
    fs::write(directory.store().join("LENTIC"), "store").unwrap();
    directory.become_ready().unwrap();
}

#[test]
fn a_directory_goes_its_steps_and_keeps_them() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("some/where");
    let directory = open(&path).unwrap();
    assert_eq!(directory.state(), State::Joining { incarnation: [9; 16] });
    drop(directory);
    // Other random bytes now; those of before count.
    let mut directory = DataDirectory::open(&path, || [1; 16]).unwrap();
    assert_eq!(directory.state(), State::Joining { incarnation: [9; 16] });
    let member = directory.become_member(CLUSTER, NodeId(3)).unwrap();
    assert_eq!(member, Member { cluster: CLUSTER, node: NodeId(3), incarnation: [9; 16] });
    drop(directory);
    let mut directory = open(&path).unwrap();
    assert_eq!(directory.state(), State::Creating(member));
    // Log and store may be half made by now.
    fs::create_dir(directory.log()).unwrap();
    drop(directory);
    directory = open(&path).unwrap();
    fs::create_dir(directory.store()).unwrap();
    fs::write(directory.log().join("1.log"), "entries").unwrap();
    fs::write(directory.store().join("LENTIC"), "store").unwrap();
    directory.become_ready().unwrap();
    directory.become_ready().unwrap();
    drop(directory);
    assert_eq!(open(&path).unwrap().state(), State::Ready(member));
    assert!(!path.join(IDENTITY_NEW_NAME).exists());
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let held = open(directory.path()).unwrap();
    let refused = open(directory.path()).unwrap_err();
    assert_eq!(refused, DirectoryError::Held { path: directory.path().into(), process: Some(std::process::id()) });
    drop(held);
    open(directory.path()).unwrap();
}

#[test]
fn a_ready_node_never_begins_anew() {
    for part in [LOG_NAME, STORE_NAME] {
        let directory = tempfile::tempdir().unwrap();
        make_ready(directory.path());
        let part = directory.path().join(part);
        fs::remove_dir_all(&part).unwrap();
        assert_eq!(open(directory.path()).unwrap_err(), DirectoryError::Missing { path: part.clone() });
        fs::create_dir(&part).unwrap();
        assert_eq!(open(directory.path()).unwrap_err(), DirectoryError::Missing { path: part });
    }
}

#[test]
fn what_is_not_a_node_s_is_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("lost+found")).unwrap();
    fs::write(path.join("thesis.tex"), "years of work").unwrap();
    assert_eq!(open(path).unwrap_err(), DirectoryError::Foreign { path: path.into(), found: "thesis.tex".into() });
    assert!(!path.join(LOCK_NAME).exists());
    fs::remove_file(path.join("thesis.tex")).unwrap();
    // What a first open leaves that was cut short.
    fs::write(path.join(IDENTITY_NEW_NAME), "lentic no").unwrap();
    drop(open(path).unwrap());
    // A log that no identity speaks of.
    fs::create_dir(path.join(LOG_NAME)).unwrap();
    assert_eq!(open(path).unwrap_err(), DirectoryError::Foreign { path: path.into(), found: "log".into() });
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(open(file.path()), Err(DirectoryError::Io { .. })));
}

#[test]
fn damage_and_other_formats_are_told() {
    let directory = tempfile::tempdir().unwrap();
    make_ready(directory.path());
    let identity = directory.path().join(IDENTITY_NAME);
    let good = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, good.replace("format: 1", "format: 2")).unwrap();
    assert_eq!(
        open(directory.path()).unwrap_err(),
        DirectoryError::Format { path: directory.path().into(), expected: 1, found: 2 }
    );
    for bad in [&good.as_bytes()[..20], b"", &[0xff; 100], &[b'x'; 1 << 20]] {
        fs::write(&identity, bad).unwrap();
        assert!(matches!(open(directory.path()), Err(DirectoryError::Damaged { .. })));
    }
    fs::remove_file(&identity).unwrap();
    assert!(matches!(open(directory.path()), Err(DirectoryError::Foreign { .. })), "data without an identity");
    fs::write(&identity, good).unwrap();
    assert!(matches!(open(directory.path()).unwrap().state(), State::Ready(_)));
}

#[test]
fn messages_say_what_to_do() {
    let path = PathBuf::from("/data");
    assert_eq!(
        DirectoryError::Held { path: path.clone(), process: Some(7) }.to_string(),
        "expected /data to be free, found it in use by process 7; stop that process, or give this node a data directory \
         of its own"
    );
    assert_eq!(
        DirectoryError::Missing { path: path.join("log") }.to_string(),
        "expected /data/log to hold what this node has promised, found nothing; bring it back, or move the whole data \
         directory away and let the node join anew"
    );
}
