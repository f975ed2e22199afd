//! Every byte of a small log flipped, every length cut, every sector lost.
//!
//! What is allowed is little: the log is refused; or the byte lies in the last gather of a log that was not closed, and
//! exactly that gather is gone; or the byte carries nothing, and nothing is gone. Never is anything else read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lentic_log::{Log, LogOptions, OpenError, SimFs, Writer};
use lentic_types::{ClusterId, GroupId, Index};
use std::sync::Arc;

const SEGMENT_BYTES: u32 = 44 << 10;
const BLOCK_BYTES: usize = 4096;
const NAME: &str = "00000001.log";

fn open(fs: &SimFs) -> Result<(Log, Writer), OpenError> {
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
    Log::open(Arc::new(fs.clone()), ClusterId([3; 16]), options, Box::new(|_| ()))
}

/// Everything the log shows.
fn contents(fs: &SimFs) -> Result<String, OpenError> {
    let (log, _writer) = open(fs)?;
    let mut out = String::new();
    for group in log.groups().unwrap() {
        let state = log.state(group).unwrap().unwrap();
        let read = state.range.map(|(first, last)| log.read(group, first..last.next(), usize::MAX).unwrap());
        out += &format!("{group} {state:?} {read:?}\n");
    }
    Ok(out)
}

/// A log of one segment, with what it holds after each gather and where each gather ends.
struct Small {
    fs: SimFs,
    stages: Vec<(usize, String)>,
}

fn small(close: bool) -> Small {
    let fs = SimFs::new();
    let (log, mut writer) = open(&fs).unwrap();
    let (g1, g2) = (GroupId(1), GroupId(2));
    let mut stages = Vec::new();
    let entries = |bytes: usize, count: usize| vec![Bytes::from(vec![b'e'; bytes]); count];
    for gather in 0..6 {
        match gather {
            0 => log.append(g1, Index(1), entries(100, 3), Box::new(drop)).unwrap(),
            1 => log.append(g2, Index(1), entries(1000, 5), Box::new(drop)).unwrap(),
            2 => log.save_state(g1, Bytes::from_static(b"vote"), Box::new(drop)).unwrap(),
            3 => log.truncate(g2, Index(4), Box::new(drop)).unwrap(),
            4 => log.purge(g1, Index(2), Bytes::from_static(b"marker"), Box::new(drop)).unwrap(),
            _ => log.append(g1, Index(4), entries(3000, 2), Box::new(drop)).unwrap(),
        }
        assert!(writer.step());
        let end = BLOCK_BYTES + usize::try_from(log.stats().unwrap().written_bytes).unwrap();
        stages.push((end, contents(&fs.copy()).unwrap()));
    }
    if close {
        writer.close().unwrap();
    }
    Small { fs: fs.copy(), stages }
}

#[test]
fn every_byte_flipped() {
    for close in [false, true] {
        let Small { fs, stages } = small(close);
        let (end, whole) = &stages[5];
        let (before_last, without_last) = &stages[4];
        let closing_end = end + if close { BLOCK_BYTES } else { 0 };
        for at in 0..closing_end + 100 {
            let damaged = fs.copy();
            damaged.flip(NAME, at, 1 << (at % 8));
            let found = contents(&damaged);
            if at < *before_last || close && at < *end {
                assert!(found.is_err(), "byte {at} of a durable part, closed: {close}");
                assert!(found.unwrap_err().to_string().starts_with(NAME), "the message names the file");
            } else {
                let expected = if at < *end { without_last } else { whole };
                assert_eq!(&found.unwrap(), expected, "byte {at} of what cannot be proven, closed: {close}");
            }
        }
    }
}

#[test]
fn every_length_cut() {
    let Small { fs, .. } = small(false);
    let bytes = fs.bytes(NAME).unwrap();
    for length in 0..bytes.len() {
        let cut = fs.copy();
        cut.put(NAME, bytes[..length].to_vec());
        assert!(matches!(contents(&cut), Err(OpenError::Damaged { .. })), "cut to {length}");
    }
}

/// What a power failure does to writes that were not synced: everything from some byte on was never written.
#[test]
fn every_end_lost() {
    let Small { fs, stages } = small(false);
    let bytes = fs.bytes(NAME).unwrap();
    for from in BLOCK_BYTES..stages[5].0 {
        let lost = fs.copy();
        let mut kept = bytes[..from].to_vec();
        kept.resize(bytes.len(), 0);
        let same = kept == bytes;
        lost.put(NAME, kept);
        let found = contents(&lost).unwrap();
        // The padding of a gather is zeros anyway, so losing it loses nothing.
        let known = stages.iter().rposition(|(end, _)| *end <= from).map_or("", |stage| &stages[stage].1);
        let next = stages.iter().position(|(end, _)| *end > from).map_or("", |stage| &stages[stage].1);
        assert!(found == known || found == next, "lost from {from}: {found}");
        assert!(!same || found == stages[5].1);
    }
}

/// A sector that was not written, under others that were: only the last gather can have lost one.
#[test]
fn every_sector_lost() {
    let Small { fs, stages } = small(false);
    let bytes = fs.bytes(NAME).unwrap();
    for at in (0..stages[5].0).step_by(512) {
        let lost = fs.copy();
        let mut kept = bytes.clone();
        kept[at..at + 512].fill(0);
        let same = kept == bytes;
        lost.put(NAME, kept);
        match contents(&lost) {
            Ok(found) if same => assert_eq!(found, stages[5].1),
            Ok(found) => {
                assert!(at >= stages[4].0, "sector at {at} was durable");
                assert_eq!(found, stages[4].1);
            }
            Err(_) => assert!(at < stages[4].0, "sector at {at} may have been torn"),
        }
    }
}
