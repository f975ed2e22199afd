//! What a table is asked to be when it is made.

use bytes::Bytes;
use lentic_types::KeyRange;
use lentic_types::limits::{KEY_BYTES_MAX, REPLICAS_MAX, SHARDS_PER_TABLE_MAX, SPLIT_POINTS_BYTES_MAX, TTL_MS_MAX};

use super::outcome::MetaRefusal;

/// The options of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// How many shards the table begins with; 0: as many as the split points make, or one.
    ///
    /// Without split points the space of keys is cut into equal parts by the keys' first two bytes: right for keys that
    /// begin with a hash. For other keys, say where to cut.
    pub shards: u32,
    /// Where the table is cut at first: keys, strictly rising. Each begins a shard.
    pub split_points: Vec<Bytes>,
    /// How long history is kept, in milliseconds; 0: the node's choice.
    pub retention_ms: u64,
    /// How many replicas each shard has; 0: the cluster's choice, also when that changes later.
    pub replicas: u32,
    /// How long a value lives whose writer does not say, in milliseconds; 0: for ever.
    pub ttl_ms: u64,
}

impl TableOptions {
    /// Checks the options against the limits, and says how many shards they mean. Options that mean the same come out
    /// equal.
    pub(super) fn normal(mut self) -> Result<Self, MetaRefusal> {
        let invalid = |reason: &'static str| Err(MetaRefusal::Invalid(reason.into()));
        let bytes: usize = self.split_points.iter().map(Bytes::len).sum();
        if bytes > SPLIT_POINTS_BYTES_MAX {
            return invalid("the split points have more than 256 KiB together; cut by shorter keys");
        }
        if self.split_points.iter().any(|point| point.is_empty() || point.len() > KEY_BYTES_MAX) {
            return invalid("a split point is empty or longer than any key; cut at keys of 1 to 16384 bytes");
        }
        if !self.split_points.is_sorted_by(|one, next| one < next) {
            return invalid("the split points do not rise; sort them, each once");
        }
        if self.split_points.is_empty() {
            self.shards = self.shards.max(1);
        } else {
            let shards = u32::try_from(self.split_points.len() + 1).expect("bounded by their bytes");
            if self.shards != 0 && self.shards != shards {
                return invalid("the number of shards is not that of the split points and one; leave it out");
            }
            self.shards = shards;
        }
        if self.shards as usize > SHARDS_PER_TABLE_MAX {
            return invalid("a table begins with at most 1024 shards; shards are few and large, ask for fewer");
        }
        if self.ttl_ms > TTL_MS_MAX {
            return invalid("values live for at most 100 years; leave the TTL out for those that never end");
        }
        if self.replicas as usize > REPLICAS_MAX {
            return invalid("a shard has at most 9 replicas; ask for fewer");
        }
        Ok(self)
    }

    /// The ranges of the first shards, in key order; the options are [normal](Self::normal).
    pub(super) fn ranges(&self) -> Vec<KeyRange> {
        let even = (1..self.shards).map(|part| {
            let prefix = part * (1 << 16) / self.shards;
            Bytes::copy_from_slice(&prefix.to_be_bytes()[2..])
        });
        let points: Vec<Bytes> = if self.split_points.is_empty() { even.collect() } else { self.split_points.clone() };
        let starts = std::iter::once(Bytes::new()).chain(points.iter().cloned());
        let ends = points.iter().cloned().map(Some).chain([None]);
        starts.zip(ends).map(|(start, end)| KeyRange::new(start, end).expect("split points rise")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_are_cut_at_two_bytes() {
        let starts = |shards| {
            let options = TableOptions { shards, ..TableOptions::default() }.normal().unwrap();
            options.ranges().iter().map(|range| range.start().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(starts(0), [Vec::<u8>::new()]);
        assert_eq!(starts(3), [&b""[..], &[0x55, 0x55], &[0xaa, 0xaa]]);
        assert_eq!(starts(4), [&b""[..], &[0x40, 0], &[0x80, 0], &[0xc0, 0]]);
        let most = u32::try_from(SHARDS_PER_TABLE_MAX).unwrap();
        for shards in 1..=most {
            let starts = starts(shards);
            assert_eq!(starts.len(), shards as usize);
            // Equal parts: of 65,536 prefixes each has the same number, or one more.
            let numbers = starts.iter().skip(1).map(|start| u32::from_be_bytes([0, 0, start[0], start[1]]));
            let bounds: Vec<_> = [0].into_iter().chain(numbers).chain([1 << 16]).collect();
            let parts = bounds.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(parts.clone().max().unwrap() - parts.min().unwrap() <= 1, "{shards} shards");
        }
    }

    #[test]
    fn options_that_mean_the_same_are_equal() {
        let points = vec![Bytes::from("g"), Bytes::from("p")];
        let given = |shards, split_points| TableOptions { shards, split_points, ..TableOptions::default() }.normal();
        assert_eq!(given(0, vec![]), given(1, vec![]));
        assert_eq!(given(0, points.clone()), given(3, points.clone()));
        assert!(given(2, points.clone()).is_err());
        assert_ne!(given(0, points).unwrap(), given(3, vec![]).unwrap());
    }
}
