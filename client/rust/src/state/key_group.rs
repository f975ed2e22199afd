//! Key groups: the parts in which a job's keys are handed to its tasks.
//!
//! A key belongs to one key group for as long as the job lives; a task has a range of them, and a rescaled job has the
//! same groups in other ranges. The rule is that of Flink's `KeyGroupRangeAssignment` and `MathUtils.murmurHash`, so that
//! a job there and a job here agree about where a key is:
//!
//! ```java
//! keyGroup(key)       = murmurHash(key.hashCode()) % maxParallelism
//! firstGroup(task)    = (task * maxParallelism + parallelism - 1) / parallelism
//! lastGroup(task)     = ((task + 1) * maxParallelism - 1) / parallelism
//! task(keyGroup)      = keyGroup * parallelism / maxParallelism
//! ```
//!
//! A key's hash is what Java's `hashCode()` gives: [`KeyBytes::hash_code`](super::KeyBytes::hash_code).

use std::fmt;

use lentic_types::KeyRange;

use super::error::StateError;

/// The most key groups that a job can have.
pub const MAX_PARALLELISM_MAX: u32 = 1 << 15;

/// How many key groups a job has, which is also the most tasks that it can have: 1 to 32,768. It never changes in a job's
/// life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxParallelism(u32);

/// A key group, from 0. In a table its keys begin with these two bytes, big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

/// The key groups of a task: from `first` to `last`, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroups {
    first: u16,
    last: u16,
}

impl MaxParallelism {
    /// That many key groups.
    ///
    /// # Errors
    /// None, or more than 32,768.
    pub fn new(groups: u32) -> Result<Self, StateError> {
        if (1..=MAX_PARALLELISM_MAX).contains(&groups) {
            return Ok(Self(groups));
        }
        Err(StateError::Invalid(format!(
            "{groups} key groups, expected 1 to {MAX_PARALLELISM_MAX}; set it within that"
        )))
    }

    /// How many key groups there are.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The key group of a key with this hash.
    #[must_use]
    pub fn group_of(self, hash_code: i32) -> KeyGroup {
        let group = murmur(hash_code) % self.0;
        KeyGroup(u16::try_from(group).expect("there are at most 2^15 groups"))
    }

    /// The key groups of task `task`, from 0, of `parallelism` tasks.
    ///
    /// # Errors
    /// There is no such task, or there would be more tasks than key groups.
    pub fn groups_of(self, task: u32, parallelism: u32) -> Result<KeyGroups, StateError> {
        if parallelism == 0 || parallelism > self.0 || task >= parallelism {
            return Err(StateError::Invalid(format!(
                "task {task} of {parallelism} with {} key groups, expected a task below the parallelism, and that at most the \
                 number of key groups; start fewer tasks",
                self.0
            )));
        }
        let first = (task * self.0).div_ceil(parallelism);
        let last = ((task + 1) * self.0 - 1) / parallelism;
        KeyGroups::new(first, last)
    }

    /// Which of `parallelism` tasks has a key group.
    #[must_use]
    pub fn task_of(self, group: KeyGroup, parallelism: u32) -> u32 {
        u32::from(group.0) * parallelism / self.0
    }
}

impl KeyGroups {
    fn new(first: u32, last: u32) -> Result<Self, StateError> {
        let end = |group: u32| u16::try_from(group).ok().filter(|group| u32::from(*group) < MAX_PARALLELISM_MAX);
        match (end(first), end(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(StateError::Invalid(format!("{first} to {last} are no key groups; give the lower one first"))),
        }
    }

    /// The key groups from `first` to `last`, both among them: what [`first`](Self::first) and [`last`](Self::last) said.
    ///
    /// # Errors
    /// They are in the wrong order, or above 32,767.
    pub fn from_to(first: KeyGroup, last: KeyGroup) -> Result<Self, StateError> {
        Self::new(u32::from(first.0), u32::from(last.0))
    }

    /// The first.
    #[must_use]
    pub const fn first(self) -> KeyGroup {
        KeyGroup(self.first)
    }

    /// The last.
    #[must_use]
    pub const fn last(self) -> KeyGroup {
        KeyGroup(self.last)
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = KeyGroup> {
        (self.first..=self.last).map(KeyGroup)
    }

    /// Whether a key group is among them.
    #[must_use]
    pub const fn contains(self, group: KeyGroup) -> bool {
        self.first <= group.0 && group.0 <= self.last
    }

    /// The key groups that are in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// The table's keys that are theirs.
    #[must_use]
    pub fn range(self) -> KeyRange {
        let end = self.last + 1;
        KeyRange::new(self.first.to_be_bytes().to_vec(), Some(end.to_be_bytes().to_vec())).expect("first <= last")
    }
}

impl fmt::Display for KeyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for KeyGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

/// Flink's `MathUtils.murmurHash`: never negative.
fn murmur(hash_code: i32) -> u32 {
    let mut code = hash_code.cast_unsigned();
    code = code.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    code = code.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    code ^= 4;
    code ^= code >> 16;
    code = code.wrapping_mul(0x85eb_ca6b);
    code ^= code >> 13;
    code = code.wrapping_mul(0xc2b2_ae35);
    code ^= code >> 16;
    // The one number without an opposite becomes 0, as in Java.
    code.cast_signed().checked_abs().unwrap_or(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::super::data::{KeyBytes, Windowed};
    use super::*;
    use proptest::prelude::*;

    fn groups(key: &(impl KeyBytes + ?Sized)) -> (i32, [u16; 3]) {
        let of = |max| MaxParallelism::new(max).unwrap().group_of(key.hash_code()).0;
        (key.hash_code(), [of(128), of(32_768), of(100)])
    }

    /// What a Java program printed that calls `hashCode()` of `Long`, `Integer`, `Boolean`, `String` and `List.of(a, b)`,
    /// and `Arrays.hashCode(byte[])`, and the code of `MathUtils.murmurHash` as it is in Flink, on Java 17: the hash, and the
    /// key group of 128, 32,768 and 100.
    #[test]
    fn keys_are_where_java_puts_them() {
        let longs = [
            (0i64, 0, [94, 31198, 54]),
            (1, 1, [86, 16342, 78]),
            (-1, 0, [94, 31198, 54]),
            (42, 42, [29, 28189, 65]),
            (1 << 32, 1, [86, 16342, 78]),
            (i64::MIN, i32::MIN, [108, 10348, 32]),
            (1_234_567_890_123, 1_912_276_436, [92, 32092, 16]),
        ];
        longs.iter().for_each(|(key, hash, at)| assert_eq!(groups(key), (*hash, *at), "{key}"));
        let ints = [
            (0i32, 0, [94, 31198, 54]),
            (-1, -1, [80, 15184, 48]),
            (i32::MIN, i32::MIN, [108, 10348, 32]),
            (i32::MAX, i32::MAX, [62, 19646, 34]),
            (31337, 31337, [37, 8613, 97]),
        ];
        ints.iter().for_each(|(key, hash, at)| assert_eq!(groups(key), (*hash, *at), "{key}"));
        let strings = [
            ("", 0, [94, 31198, 54]),
            ("a", 97, [81, 19409, 1]),
            ("N14228", -2_015_042_201, [38, 27302, 78]),
            ("UA-EWR-IAH", -546_025_854, [9, 11529, 89]),
            ("Z\u{fc}rich", -1_482_116_162, [89, 29273, 77]),
            ("\u{1f680} rocket", -1_391_342_671, [118, 13046, 38]),
            ("polygenelubricants", i32::MIN, [108, 10348, 32]),
        ];
        strings.iter().for_each(|(key, hash, at)| assert_eq!(groups(*key), (*hash, *at), "{key}"));
        let bytes: [(&[u8], i32, [u16; 3]); 4] = [
            (&[], 1, [86, 16342, 78]),
            (&[0], 31, [123, 2683, 63]),
            (&[0x80, 0xff, 0x7f], -93_121, [34, 22306, 82]),
            (b"abc", 126_145, [28, 10652, 24]),
        ];
        bytes.iter().for_each(|(key, hash, at)| assert_eq!(groups(*key), (*hash, *at), "{key:?}"));
        assert_eq!(groups(&true), (1_231, [77, 11725, 65]));
        assert_eq!(groups(&false), (1_237, [3, 32003, 91]));
        assert_eq!(groups(&("EWR".to_owned(), "IAH".to_owned())), (2_214_929, [85, 15445, 85]));
        assert_eq!(groups(&("UA".to_owned(), 7i64)), (84_668, [13, 29069, 37]));
        assert_eq!(groups(&Windowed { key: 42i64, window: 7 }), groups(&42i64), "windows of a key are in its group");
    }

    /// The same program: `sum = sum * 31 + murmurHash(i * 7919)` for i from -100,000 to 99,999, as a long.
    #[test]
    fn hashes_are_those_of_flink() {
        let fold = |sum: i64, i: i32| sum.wrapping_mul(31).wrapping_add(i64::from(murmur(i * 7919)));
        assert_eq!((-100_000..100_000).fold(0, fold), 8_580_538_324_286_476_553);
    }

    /// The same program.
    #[test]
    fn tasks_have_the_groups_that_flink_gives_them() {
        let all = |max: u32, parallelism: u32| -> Vec<(u16, u16)> {
            let max = MaxParallelism::new(max).unwrap();
            (0..parallelism)
                .map(|task| max.groups_of(task, parallelism).unwrap())
                .map(|of| (of.first, of.last))
                .collect()
        };
        assert_eq!(all(128, 4), [(0, 31), (32, 63), (64, 95), (96, 127)]);
        assert_eq!(all(128, 3), [(0, 42), (43, 85), (86, 127)]);
        assert_eq!(all(10, 3), [(0, 3), (4, 6), (7, 9)]);
        assert_eq!(all(32_768, 7)[4..], [(18_725, 23_405), (23_406, 28_086), (28_087, 32_767)]);
        assert_eq!(all(1, 1), [(0, 0)]);
        assert_eq!(all(5, 5), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
    }

    #[test]
    fn what_is_no_parallelism_is_refused() {
        assert!(MaxParallelism::new(0).is_err() && MaxParallelism::new(32_769).is_err());
        let max = MaxParallelism::new(4).unwrap();
        assert!(max.groups_of(0, 0).is_err() && max.groups_of(0, 5).is_err() && max.groups_of(4, 4).is_err());
        assert!(KeyGroups::from_to(KeyGroup(2), KeyGroup(1)).is_err());
        assert!(KeyGroups::from_to(KeyGroup(2), KeyGroup(32_768)).is_err());
        assert_eq!(
            KeyGroups::from_to(KeyGroup(258), KeyGroup(32_767)).unwrap().range().to_string(),
            "[\\x01\\x02, \\x80\\x00)"
        );
    }

    proptest! {
        #[test]
        fn tasks_share_all_groups(max in 1u32..=32_768, parallelism in 1u32..200, group in 0u32..32_768) {
            let parallelism = parallelism.min(max);
            let group = KeyGroup(u16::try_from(group % max).unwrap());
            let max = MaxParallelism::new(max).unwrap();
            let owner = max.task_of(group, parallelism);
            for task in 0..parallelism {
                let groups = max.groups_of(task, parallelism).unwrap();
                prop_assert_eq!(groups.contains(group), task == owner);
                prop_assert_eq!(groups.range().contains(&group.0.to_be_bytes()), task == owner);
            }
        }
    }
}
