//! What [`crate::store::portable`] promises, one function a promise. Each takes empty stores.

use lentic_types::{GroupId, Index, KeyRange, TableId, Version};

use crate::keys::{data, sys};
use crate::store::{Batch, Bounds, Cursor, Export, Family, Import, Portable, PortableFile, Span, Store, TransferError};

const GROUP: GroupId = GroupId(5);
const TABLE: TableId = TableId(2);
/// Enough for several files of any store under test, if they are small.
const KEYS: u64 = 900;

/// Runs all of it, each part on stores of its own from `make`, which cut files at 64 KiB or so.
pub fn check<S: Portable>(mut make: impl FnMut() -> S) {
    state_goes_from_one_store_to_another(&make(), &make());
    an_export_is_of_one_moment(&make(), &make());
    files_are_read_in_pieces_of_any_size(&make(), &make());
    nothing_changes_unless_every_file_is_good(&make(), &make());
    keys_outside_of_the_ranges_are_refused(&make(), &make());
    parts_are_refused_where_they_do_not_belong(&make(), &make());
    a_range_is_cleared(&make());
    spans_are_in_order(&make());
    chores_and_figures_are_harmless(&make());
}

/// An export, as bytes.
type Files = Vec<(PortableFile, Vec<u8>)>;

fn table(table: u32) -> Span {
    Span::new(Family::Data, data::bounds(TableId(table), &KeyRange::all()))
}

fn spans() -> Vec<Span> {
    let lock = Span { family: Family::Lock, ..table(TABLE.0) };
    vec![table(TABLE.0), lock, Span::of_group(GROUP)]
}

fn neighbours() -> Vec<Span> {
    let lock = |number| Span { family: Family::Lock, ..table(number) };
    let groups = [GroupId(GROUP.0 - 1), GroupId(GROUP.0 + 1)];
    vec![table(1), table(3), lock(1), lock(3), Span::of_group(groups[0]), Span::of_group(groups[1])]
}

/// A value that does not compress, so that files fill up.
fn noise(seed: u64) -> Vec<u8> {
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(seed), step).skip(1).take(40).flat_map(u64::to_be_bytes).collect()
}

fn put_record(batch: &mut Batch, table: u32, key: u64, value: &[u8]) {
    let key = key.to_be_bytes();
    batch.put_with(
        Family::Data,
        |out| data::put(out, TableId(table), &key, Version(9)),
        |out| out.extend_from_slice(value),
    );
}

/// Records and locks of a table, and the state of a group that has applied up to `applied`.
fn fill(store: &impl Store, table: u32, group: GroupId, keys: std::ops::Range<u64>, applied: u64, seed: u64) {
    for key in keys {
        let mut batch = Batch::new();
        put_record(&mut batch, table, key, &noise(seed + key));
        if key % 7 == 0 {
            let key = key.to_be_bytes();
            batch.put_with(Family::Lock, |out| data::put_prefix(out, TableId(table), &key), |out| out.push(1));
            batch.put(Family::Sys, &sys::key(group, sys::SysKind::Answers, &key), b"an answer");
        }
        store.write(&batch).expect("the store works");
    }
    let mut batch = Batch::new();
    sys::put_applied(&mut batch, group, Index(applied));
    batch.put(Family::Sys, &sys::key(group, sys::SysKind::Replica, &[]), &applied.to_be_bytes());
    store.write(&batch).expect("the store works");
}

/// What a receiver has before: older state of the same ranges, flushed and not, and neighbours.
fn fill_receiver(store: &impl Store) {
    fill(store, TABLE.0, GROUP, KEYS / 2..KEYS * 2, 3, 1_000_000);
    for (table, group) in [(1, GroupId(GROUP.0 - 1)), (3, GroupId(GROUP.0 + 1))] {
        fill(store, table, group, 0..50, 2, 2_000_000);
    }
    store.flush().expect("the store works");
    fill(store, TABLE.0, GROUP, KEYS * 2..KEYS * 2 + 50, 4, 3_000_000);
}

fn content(store: &impl Store, spans: &[Span]) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let rows = |span: &Span| {
        let mut cursor = store.cursor(span.family, span.bounds()).expect("the store works");
        cursor.seek(b"").expect("the store works");
        let mut rows = Vec::new();
        while let Some((key, value)) = cursor.entry() {
            rows.push((key.to_vec(), value.to_vec()));
            cursor.next().expect("the store works");
        }
        rows
    };
    spans.iter().map(rows).collect()
}

fn everything(store: &impl Store) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    content(store, &Family::ALL.map(Span::all))
}

fn read_all(export: &impl Export, piece_bytes: usize) -> Files {
    let read = |(position, file): (usize, &PortableFile)| {
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let piece = export.read(position, bytes.len() as u64, piece_bytes).expect("a piece");
            assert!(piece.len() <= piece_bytes, "no more than was asked for");
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(bytes.len() as u64, file.bytes, "a file is as long as it says");
        assert_eq!(crc32fast::hash(&bytes), file.crc32, "a file is what it says");
        assert_eq!(export.read(position, file.bytes + 1, 9).expect("no piece").len(), 0, "nothing behind its end");
        (file.clone(), bytes)
    };
    export.files().iter().enumerate().map(read).collect()
}

fn export(store: &impl Portable, spans: &[Span]) -> Files {
    read_all(&store.export(spans, &[]).expect("an export"), 10_000)
}

fn install(store: &impl Portable, spans: &[Span], files: &Files) -> Result<(), TransferError> {
    let mut import = store.import()?;
    for (file, bytes) in files {
        for (number, piece) in bytes.chunks(7_000).enumerate() {
            import.write(file, (number * 7_000) as u64, piece)?;
        }
    }
    let announced: Vec<_> = files.iter().map(|(file, _)| file.clone()).collect();
    store.install(import, spans, &announced)
}

fn state_goes_from_one_store_to_another(from: &impl Portable, to: &impl Portable) {
    fill(from, TABLE.0, GROUP, 0..KEYS, 77, 0);
    fill(from, 3, GroupId(GROUP.0 + 1), 0..9, 8, 9);
    fill_receiver(to);
    let before = content(to, &neighbours());
    let files = export(from, &spans());
    assert!(files.len() > 4, "several files, {} it is; let the store cut them smaller", files.len());
    install(to, &spans(), &files).expect("an install");
    assert_eq!(content(to, &spans()), content(from, &spans()));
    assert_eq!(content(to, &neighbours()), before, "neighbours stay");
    assert_eq!(to.durable_applied(GROUP), Ok(Index(77)), "durable when it returns");
    // What came in is written over like anything else.
    let mut batch = Batch::new();
    put_record(&mut batch, TABLE.0, 7, b"new");
    to.write(&batch).expect("the store works");
    assert!(content(to, &spans())[0].iter().any(|(_, value)| value == b"new"));
}

fn an_export_is_of_one_moment(from: &impl Portable, to: &impl Portable) {
    fill(from, TABLE.0, GROUP, 0..20, 20, 0);
    let then = content(from, &spans());
    let key = |kind| (Family::Sys, sys::key(GROUP, kind, &[]));
    let keys = [key(sys::SysKind::Replica), key(sys::SysKind::Meta)];
    let export = from.export(&spans(), &keys).expect("an export");
    fill(from, TABLE.0, GROUP, 10..40, 40, 99);
    from.flush().expect("the store works");
    assert_eq!(export.values(), [Some(20u64.to_be_bytes().to_vec()), None]);
    install(to, &spans(), &read_all(&export, 1_000)).expect("an install");
    assert_eq!(content(to, &spans()), then);
    assert_eq!(sys::applied(to, GROUP), Ok(Index(20)));
}

fn files_are_read_in_pieces_of_any_size(from: &impl Portable, to: &impl Portable) {
    fill(from, TABLE.0, GROUP, 0..9, 1, 0);
    let export = from.export(&spans(), &[]).expect("an export");
    let files = read_all(&export, usize::MAX);
    assert_eq!(read_all(&export, 13), files);
    assert_eq!(export.read(0, u64::MAX, usize::MAX).expect("no piece").len(), 0);
    install(to, &spans(), &files).expect("an install");
    // Nothing to send is an export too.
    assert_eq!(self::export(to, &[table(9)]), []);
}

fn nothing_changes_unless_every_file_is_good(from: &impl Portable, to: &impl Portable) {
    fill(from, TABLE.0, GROUP, 0..KEYS, 77, 0);
    fill_receiver(to);
    let before = everything(to);
    let good = export(from, &spans());
    let refused = |what: &str, change: &dyn Fn(&mut Files)| {
        let mut files = good.clone();
        change(&mut files);
        let error = install(to, &spans(), &files).expect_err(what);
        assert!(matches!(error, TransferError::Refused { .. }), "{what}: {error}");
        assert!(everything(to) == before, "{what}: the store has changed");
    };
    let last = good.len() - 1;
    refused("a bit flipped", &|files| files[1].1[100] ^= 1);
    refused("a bit flipped in the last file", &|files| files[last].1[3] ^= 1);
    refused("a byte too few", &|files| files[1].1.truncate(50));
    refused("a byte too many", &|files| files[1].1.push(0));
    refused("another length announced", &|files| files[1].0.bytes -= 1);
    refused("another checksum announced", &|files| files[1].0.crc32 ^= 1);
    refused("a file twice", &|files| files.push(files[1].clone()));
    refused("a file of another family", &|files| files[0].0.name = files[0].0.name.replace("data", "sys"));
    refused("the same rows twice", &|files| {
        let (mut file, bytes) = files[0].clone();
        file.name = file.name.replace("000000", "000099");
        files.push((file, bytes));
    });
    for name in ["../data-000000.sst", "/etc/passwd", "data-000000", "", "..", "data-000000.sst\0"] {
        refused(name, &|files| files[0].0.name = name.to_owned());
    }
    // The bytes are those that were sent, and they are no rows at all.
    refused("garbage", &|files| {
        files[1].1 = vec![0xff; 1_000];
        (files[1].0.bytes, files[1].0.crc32) = (1_000, crc32fast::hash(&files[1].1));
    });
    refused("an empty file", &|files| {
        files[last].1.clear();
        (files[last].0.bytes, files[last].0.crc32) = (0, 0);
    });
    let mut import = to.import().expect("an import");
    good.iter().for_each(|(file, bytes)| import.write(file, 0, bytes).expect("a part"));
    let announced: Vec<_> = good[1..].iter().map(|(file, _)| file.clone()).collect();
    to.install(import, &spans(), &announced).expect_err("a file that was not announced");
    let missing: Vec<_> = good.iter().map(|(file, _)| file.clone()).collect();
    to.install(to.import().expect("an import"), &spans(), &missing).expect_err("files that never came");
    assert!(everything(to) == before, "the store has changed");
    install(to, &spans(), &good).expect("an install");
    assert_eq!(content(to, &spans()), content(from, &spans()));
}

fn keys_outside_of_the_ranges_are_refused(from: &impl Portable, to: &impl Portable) {
    fill(from, TABLE.0, GROUP, 0..30, 7, 0);
    fill(from, 3, GroupId(GROUP.0 + 1), 0..30, 8, 9);
    fill_receiver(to);
    let before = everything(to);
    let wide = export(from, &Family::ALL.map(Span::all));
    let half = data::bounds(TABLE, &KeyRange::new(&b""[..], Some(15u64.to_be_bytes().to_vec())).expect("a range"));
    let narrow = [Span::new(Family::Data, half), spans()[1].clone(), spans()[2].clone()];
    for (files, into) in [
        (&wide, spans()),
        (&export(from, &spans()), narrow.to_vec()),
        (&export(from, &[Span::of_group(GroupId(GROUP.0 + 1))]), spans()),
        (&export(from, &spans()), spans()[..2].to_vec()),
        (&export(from, &spans()), vec![]),
    ] {
        let error = install(to, &into, files).expect_err("keys outside of the ranges");
        assert!(matches!(error, TransferError::Refused { .. }), "{error}");
        assert!(everything(to) == before, "the store has changed: {error}");
    }
}

fn parts_are_refused_where_they_do_not_belong(from: &impl Portable, to: &impl Portable) {
    fill(from, TABLE.0, GROUP, 0..30, 7, 0);
    let files = export(from, &spans());
    let mut import = to.import().expect("an import");
    for (file, bytes) in &files {
        let half = bytes.len() / 2;
        import.write(file, 0, &bytes[..half]).expect("a part");
        import.write(file, half as u64 + 1, &bytes[half + 1..]).expect_err("a gap");
        import.write(file, half as u64, &[bytes.as_slice(), &[0]].concat()).expect_err("beyond the end");
        import.write(file, u64::MAX, &bytes[..1]).expect_err("far beyond the end");
        let strange = PortableFile { name: format!("../{}", file.name), ..file.clone() };
        import.write(&strange, 0, bytes).expect_err("a path");
        // A part that comes twice, and one that overlaps, as after a resumed stream.
        import.write(file, 0, &bytes[..half]).expect("a part");
        import.write(file, half as u64 / 2, &bytes[half / 2..]).expect("a part");
    }
    let announced: Vec<_> = files.iter().map(|(file, _)| file.clone()).collect();
    to.install(import, &spans(), &announced).expect("an install");
    assert_eq!(content(to, &spans()), content(from, &spans()));
}

fn a_range_is_cleared(store: &impl Portable) {
    fill_receiver(store);
    let before = content(store, &neighbours());
    store.clear(&spans()).expect("a clear");
    assert_eq!(content(store, &spans()), [vec![], vec![], vec![]]);
    assert_eq!(content(store, &neighbours()), before, "neighbours stay");
    assert_eq!(store.durable_applied(GROUP), Ok(Index(0)), "durable when it returns");
    // Nothing to clear is fine, and so is part of a group.
    store.clear(&spans()).expect("a clear");
    store.clear(&[]).expect("a clear");
    store.clear(&[table(1)]).expect("a clear");
    assert_eq!(content(store, &[table(1)]), [vec![]]);
}

fn spans_are_in_order(store: &impl Portable) {
    fill(store, TABLE.0, GROUP, 0..3, 7, 0);
    let before = everything(store);
    let Bounds::Range { lower, .. } = data::bounds(TABLE, &KeyRange::all()) else { panic!("a range") };
    let inner = Span { family: Family::Data, lower, upper: None };
    for spans in [[table(TABLE.0), inner.clone()], [inner, table(9)], [Span::of_group(GROUP), table(1)]] {
        let found = spans[1].lower.clone();
        assert!(matches!(store.export(&spans, &[]), Err(TransferError::Ranges { found: key }) if key == found));
        assert_eq!(store.clear(&spans), Err(TransferError::Ranges { found }));
    }
    assert!(everything(store) == before, "the store has changed");
}

fn chores_and_figures_are_harmless(store: &impl Portable) {
    fill(store, TABLE.0, GROUP, 0..30, 7, 0);
    let before = everything(store);
    store.request_flush().expect("the store works");
    store.maintain().expect("the store works");
    assert!(everything(store) == before, "the store has changed");
    let metrics = store.metrics();
    assert!(!metrics.is_empty());
    assert!(metrics.iter().all(|metric| metric.name.starts_with("lentic_") && metric.help.ends_with('.')));
}
