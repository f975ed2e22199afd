//! The known key that a mistyped one may have meant.

/// The one of `known` that is most like `key`; of equals, the first. A key in the wrong section, or in none, is near to
/// the key of its name.
pub(super) fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = |key: &str| key.rsplit_once('.').map_or(key, |(_, name)| name).to_owned();
    let score = |known: &str| {
        let of_names = distance(&name(key), &name(known));
        // Further apart, two names in two sections have nothing to do with each other.
        if of_names <= NAME_LETTERS_MAX { distance(key, known).min(of_names + 1) } else { distance(key, known) }
    };
    known.into_iter().min_by_key(|known| score(known))
}

/// Most letters in which the names of keys in two sections differ and are still near.
const NAME_LETTERS_MAX: usize = 2;
/// Longest key that is compared; what is longer is like nothing.
const KEY_CHARS_MAX: usize = 200;

/// How many letters must be put in, taken out, replaced, or exchanged with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().take(KEY_CHARS_MAX).collect(), b.chars().take(KEY_CHARS_MAX).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, from) in a.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, to) in b.iter().enumerate() {
            let replaced = last[column] + usize::from(from != to);
            let mut best = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && a[row - 1] == *to && *from == b[column - 1] {
                best = best.min(before[column - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "acb", 1),
            ("", "abc", 3),
            ("listen", "lisen", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_section_is_found() {
        let known = ["listen", "store.memtable_bytes", "log.segment_bytes", "log"];
        assert_eq!(nearest("memtable_bytes", known), Some("store.memtable_bytes"));
        assert_eq!(nearest("log.memtable_bytes", known), Some("store.memtable_bytes"));
        assert_eq!(nearest("lisetn", known), Some("listen"));
        assert_eq!(nearest("logs", known), Some("log"));
    }
}
