//! What is under way with shards, as `lentic status` shows it.

use lentic_client::{Sending, ShardSplit};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::output::bytes_member;
use crate::text::{Strict, quantity_of_bytes};

/// A shard that is being cut in two.
pub(super) struct SplitRow<'a>(&'a ShardSplit);

impl<'a> SplitRow<'a> {
    pub(super) const fn new(split: &'a ShardSplit) -> Self {
        Self(split)
    }

    pub(super) fn human(&self) -> String {
        let ShardSplit { shard, child, at } = self.0;
        format!("splitting: {shard} at {}, and the rest becomes {child}\n", Strict(at))
    }

    pub(super) fn plain(&self) -> Vec<String> {
        let ShardSplit { shard, child, at } = self.0;
        vec!["split".to_owned(), shard.0.to_string(), child.0.to_string(), Strict(at).to_string()]
    }
}

impl Serialize for SplitRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ShardSplit { shard, child, at } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("shard", &shard.0)?;
        map.serialize_entry("child", &child.0)?;
        bytes_member(&mut map, "at", at)?;
        map.end()
    }
}

/// The state of a shard on its way to a node.
#[derive(Serialize)]
pub(super) struct SendRow {
    shard: u64,
    to: u64,
    sent: u64,
    bytes: u64,
    bytes_per_second: u64,
    seconds_left: Option<u64>,
}

impl SendRow {
    pub(super) fn new(sending: &Sending) -> Self {
        Self {
            shard: sending.shard.0,
            to: sending.to.0,
            sent: sending.sent,
            bytes: sending.bytes,
            bytes_per_second: sending.bytes_per_second(),
            seconds_left: sending.left().map(|left| left.as_secs()),
        }
    }

    pub(super) fn human(&self) -> String {
        let Self { shard, to, .. } = self;
        let [sent, bytes, rate] = [self.sent, self.bytes, self.bytes_per_second].map(quantity_of_bytes);
        let left = self.seconds_left.map_or_else(|| "not known how long".to_owned(), |left| format!("{left} s left"));
        format!("sending: s{shard} to n{to}, {sent} of {bytes}, {rate}/s, {left}\n")
    }

    pub(super) fn plain(&self) -> Vec<String> {
        let numbers =
            [self.shard, self.to, self.sent, self.bytes, self.bytes_per_second].map(|number| number.to_string());
        let left = self.seconds_left.map(|left| left.to_string()).unwrap_or_default();
        ["send".to_owned()].into_iter().chain(numbers).chain([left]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use lentic_client::{NodeId, ShardId};

    #[test]
    fn how_far_it_is_and_how_long_the_rest_takes() {
        let sending = |sent, ms| {
            let (shard, to, elapsed) = (ShardId(3), NodeId(4), Duration::from_millis(ms));
            SendRow::new(&Sending { shard, to, sent, bytes: 3 << 30, elapsed })
        };
        let row = sending(1 << 30, 8_000);
        assert_eq!(row.human(), "sending: s3 to n4, 1.0 GiB of 3.0 GiB, 128.0 MiB/s, 16 s left\n");
        assert_eq!(row.plain().join(" "), format!("send 3 4 {} {} {} 16", 1 << 30, 3_u64 << 30, 128 << 20));
        assert_eq!(sending(0, 0).human(), "sending: s3 to n4, 0 B of 3.0 GiB, 0 B/s, not known how long\n");
        let split = ShardSplit { shard: ShardId(3), child: ShardId(9), at: "k".into() };
        let row = SplitRow::new(&split);
        assert_eq!(row.human(), "splitting: s3 at k, and the rest becomes s9\n");
        assert_eq!(row.plain(), ["split", "3", "9", "k"]);
        assert_eq!(serde_json::to_string(&row).unwrap(), "{\"shard\":3,\"child\":9,\"at\":\"k\"}");
    }
}
