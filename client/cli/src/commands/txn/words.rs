//! Words of a line, quoted as in a shell.

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether no part of it was in quotes: only then it can be an option.
    pub(super) is_bare: bool,
}

/// The words of `line`, up to a comment. Blanks separate them. Quotes of either kind hold what would end a word; inside of
/// them every character but the closing one is itself.
pub(super) fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = first(rest)?;
        words.push(word);
        rest = after.trim_start_matches(is_blank);
    }
    Ok(words)
}

fn is_blank(character: char) -> bool {
    character.is_ascii_whitespace()
}

fn is_quote(character: char) -> bool {
    matches!(character, '\'' | '"')
}

/// The first word, and what stands behind it.
fn first(text: &str) -> Result<(Word, &str), String> {
    let (mut word, mut rest) = (Word { text: String::new(), is_bare: true }, text);
    while let Some(next) = rest.chars().next().filter(|next| !is_blank(*next)) {
        if is_quote(next) {
            let (inside, after) =
                rest[1..].split_once(next).ok_or_else(|| format!("expected a closing {next} on the same line"))?;
            word.text.push_str(inside);
            (word.is_bare, rest) = (false, after);
        } else {
            let length = rest.find(|it| is_blank(it) || is_quote(it)).unwrap_or(rest.len());
            word.text.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    Ok((word, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Result<Vec<String>, String> {
        words(line).map(|words| words.into_iter().map(|word| word.text).collect())
    }

    #[test]
    fn words_are_cut_as_in_a_shell() {
        assert_eq!(texts(" put\tt  k é # the rest").unwrap(), ["put", "t", "k", "é"]);
        assert_eq!(
            texts(r#"'a b' "it's" '{"a": 1}' '' x'y z'"w" a#b '#'"#).unwrap(),
            ["a b", "it's", r#"{"a": 1}"#, "", "xy zw", "a#b", "#"]
        );
        assert_eq!(texts("a\\x00 \\").unwrap(), ["a\\x00", "\\"], "escapes are for whoever reads the word");
        assert!(texts("").unwrap().is_empty() && texts("  # only").unwrap().is_empty());
        assert_eq!(texts("put t k 'open").unwrap_err(), "expected a closing ' on the same line");
        let bare: Vec<bool> = words("--a '--b' -'-c'").unwrap().iter().map(|word| word.is_bare).collect();
        assert_eq!(bare, [true, false, false]);
    }

    proptest! {
        #[test]
        fn any_line_is_words_or_refused(line: String) {
            let _ = words(&line);
        }
    }
}
