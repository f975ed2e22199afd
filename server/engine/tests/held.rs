//! What collections tell of the bytes that pins hold.

#![allow(clippy::unwrap_used, reason = "a test that meets an error there has failed")]

use std::convert::Infallible;

use lentic_engine::gc::{GcHandle, GcRules};
use lentic_engine::merge::MergeOperator;
use lentic_engine::record::Record;
use lentic_engine::store::{Batch, Store as _};
use lentic_engine::{MaskSet, MemStore, ReadAt, ReadStats, write};
use lentic_types::{GroupId, Index, KeyRange, TableId, Version};

const TABLE: TableId = TableId(1);

fn collect(store: &MemStore, gc: &GcHandle, index: u64, watermark: u64, pins: &[u64]) -> Option<u32> {
    let pins = pins.iter().copied().map(Version).collect();
    let rules = GcRules {
        table: TABLE,
        range: KeyRange::all(),
        watermark: Version(watermark),
        pins,
        masks: MaskSet::new(),
        is_branch: false,
    };
    gc.stage(GroupId(1), Index(index), Some(rules));
    gc.promote(|_| Ok::<_, Infallible>(Index(index))).unwrap();
    store.flush().unwrap();
    store.compact(TABLE, &KeyRange::all(), gc);
    gc.held(TABLE, KeyRange::all().start()).permille()
}

#[test]
fn what_only_a_pin_keeps_is_counted() {
    let (store, mut batch) = (MemStore::new(), Batch::new());
    for (key, version) in (0..10u8).flat_map(|key| (1..=4).map(move |version| (key, version))) {
        write::record(&mut batch, TABLE, &[key], Version(version), &Record::Put { value: b"v", expiry: None });
    }
    store.write(&batch).unwrap();
    let gc = GcHandle::new();
    assert_eq!(collect(&store, &gc, 1, 0, &[1]), Some(0), "nothing is below the watermark");
    // Of each key one is read from the watermark on, one by the pin, and two go; twice what was looked at before.
    assert_eq!(collect(&store, &gc, 2, 4, &[1]), Some(125));
    assert_eq!(collect(&store, &gc, 3, 4, &[1]), Some(200), "now half of what there is");
    assert_eq!(collect(&store, &gc, 4, 4, &[]), Some(166), "the pin is gone, and fades");
    assert_eq!(collect(&store, &gc, 5, 4, &[]), Some(153));
}

#[test]
fn the_base_of_what_a_pin_keeps_is_kept_for_it() {
    let store = MemStore::new();
    let masks = MaskSet::new();
    let mut batch = Batch::new();
    write::record(&mut batch, TABLE, b"k", Version(1), &Record::Put { value: &[b'a'; 400], expiry: None });
    store.write(&batch).unwrap();
    let mut batch = Batch::new();
    let at = ReadAt { table: TABLE, version: Version(2), masks: &masks, layers: &[] };
    let head = at.head(&store, b"k", &mut ReadStats::default()).unwrap();
    let merge = write::Merge { key: b"k", operator: MergeOperator::Append, operand: b"b", expiry: None };
    write::merge(&mut batch, &store, &at, &head, &merge, &mut ReadStats::default()).unwrap().unwrap();
    write::record(&mut batch, TABLE, b"k", Version(3), &Record::Delete);
    store.write(&batch).unwrap();
    let gc = GcHandle::new();
    let held = collect(&store, &gc, 1, 3, &[2]).unwrap();
    assert!(held > 900, "the operand and its large base: {held}");
}
