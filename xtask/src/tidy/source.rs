//! Rust source by lines, as far as the rules need it: what is code, what is comment, what is there for tests only.
//!
//! Not a parser. The scanner knows comments, strings and character literals, so a rule never trips over a word in a
//! message; above that it only counts brackets.

/// One line of a file.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The code, with comments and the contents of strings left out.
    pub(crate) code: String,
    /// The comment, without the code.
    pub(crate) comment: String,
    /// The line as it is.
    pub(crate) text: String,
    /// Whether the line belongs to an item that only tests see: under `#[cfg(test)]` or the feature `testing`.
    pub(crate) in_test: bool,
}

/// A file of Rust.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its lines, in order.
    pub(crate) lines: Vec<Line>,
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

impl Line {
    /// Whether an attribute on this line gives the item below it to tests alone.
    fn is_for_tests(&self) -> bool {
        let testing = self.code.contains("#[cfg(") && self.text.contains("feature = \"testing\"");
        self.code.contains("#[cfg(test)]")
            || self.code.contains("#[cfg(all(test,")
            || (testing && !self.code.contains("not("))
    }
}

impl Source {
    /// Scans `text`.
    pub(crate) fn read(text: &str) -> Self {
        let mut source = Self { lines: scan(&text.chars().collect::<Vec<_>>()) };
        for (line, text) in source.lines.iter_mut().zip(text.lines()) {
            text.clone_into(&mut line.text);
        }
        source.mark_tests();
        source
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(place, line)| (place + 1, line))
    }

    /// The code from line `number` on, joined, up to and including the first `end` outside of parentheses.
    pub(crate) fn code_until(&self, number: usize, end: &[char]) -> String {
        let mut depth = 0i32;
        let mut text = String::new();
        for line in &self.lines[number - 1..] {
            for c in line.code.chars() {
                match c {
                    '(' | '[' => depth += 1,
                    ')' | ']' => depth -= 1,
                    _ => {}
                }
                text.push(c);
                if depth <= 0 && end.contains(&c) {
                    return text;
                }
            }
            text.push(' ');
        }
        text
    }

    /// The names of modules declared as `mod name;` under `#[cfg(test)]`.
    pub(crate) fn test_modules(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(|line| line.in_test).filter_map(|line| {
            let code = line.code.trim().rsplit("mod ").next()?;
            let name = code.strip_suffix(';')?;
            (line.code.contains("mod ") && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
        })
    }

    /// Marks the lines from each `#[cfg(test)]` and its like to the end of the item it stands on.
    fn mark_tests(&mut self) {
        let mut from = 0;
        while from < self.lines.len() {
            if self.lines[from].code.contains("#![cfg(test)]") {
                self.lines.iter_mut().for_each(|line| line.in_test = true);
                return;
            }
            if !self.lines[from].is_for_tests() {
                from += 1;
                continue;
            }
            let end = self.item_end(from);
            self.lines[from..=end].iter_mut().for_each(|line| line.in_test = true);
            from = end + 1;
        }
    }

    /// The line where the item that starts at line `from`, with its attributes, ends: at a `;` or at the brace that
    /// closes its body.
    fn item_end(&self, from: usize) -> usize {
        let (mut round, mut braces) = (0i32, 0i32);
        for (place, line) in self.lines.iter().enumerate().skip(from) {
            for c in line.code.chars() {
                match c {
                    '(' | '[' => round += 1,
                    ')' | ']' => round -= 1,
                    '{' => braces += 1,
                    '}' => braces -= 1,
                    _ => {}
                }
                if round == 0 && braces == 0 && matches!(c, ';' | '}') {
                    return place;
                }
            }
        }
        self.lines.len() - 1
    }
}

fn scan(text: &[char]) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < text.len() {
        let c = text[at];
        let next = text.get(at + 1).copied();
        if c == '\n' {
            if inside == Inside::LineComment {
                inside = Inside::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let line = lines.last_mut().expect("there is always a line");
        let mut step = 1;
        match inside {
            Inside::Code => match (c, next) {
                ('/', Some('/')) => inside = Inside::LineComment,
                ('/', Some('*')) => (inside, step) = (Inside::BlockComment { depth: 1 }, 2),
                ('"', _) => inside = Inside::Text,
                ('\'', _) => step = quoted_char(&text[at..]),
                ('r', Some('"' | '#')) if !ends_in_word(&line.code) => {
                    if let Some(hashes) = raw_text_start(&text[at..]) {
                        (inside, step) = (Inside::RawText { hashes }, hashes + 2);
                    }
                }
                _ => {}
            },
            Inside::LineComment => {}
            Inside::BlockComment { depth } => match (c, next) {
                ('/', Some('*')) => (inside, step) = (Inside::BlockComment { depth: depth + 1 }, 2),
                ('*', Some('/')) if depth == 1 => (inside, step) = (Inside::Code, 2),
                ('*', Some('/')) => (inside, step) = (Inside::BlockComment { depth: depth - 1 }, 2),
                _ => {}
            },
            // A line that ends in a backslash goes on: the line break is counted like any other.
            Inside::Text if c == '\\' && next != Some('\n') => step = 2,
            Inside::Text if c == '"' => inside = Inside::Code,
            Inside::RawText { hashes } if c == '"' && text[at + 1..].starts_with(&vec!['#'; hashes]) => {
                (inside, step) = (Inside::Code, hashes + 1);
            }
            Inside::Text | Inside::RawText { .. } => {}
        }
        match inside {
            Inside::LineComment | Inside::BlockComment { .. } => line.comment.push(c),
            Inside::Code if c != '"' && step == 1 => line.code.push(c),
            // The end of a comment, of a raw string, or a character literal: a blank keeps neighbours apart.
            Inside::Code => line.code.push(' '),
            Inside::Text | Inside::RawText { .. } => {}
        }
        at += step;
    }
    lines
}

/// The length of the character literal at the start of `text`, or 1 if a lifetime or a label starts there.
fn quoted_char(text: &[char]) -> usize {
    match text {
        ['\'', '\\', _, rest @ ..] => 3 + rest.iter().take_while(|c| **c != '\'').count() + 1,
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// The number of hashes of the raw string that starts with the `r` at the start of `text`.
fn raw_text_start(text: &[char]) -> Option<usize> {
    let hashes = text[1..].iter().take_while(|c| **c == '#').count();
    (text.get(1 + hashes) == Some(&'"')).then_some(hashes)
}

fn ends_in_word(code: &str) -> bool {
    // `br"…"` and `cr"…"` are raw strings too.
    let tail = code.strip_suffix(['b', 'c']).unwrap_or(code);
    tail.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Whether `word` stands in `code` with no part of a longer name beside it.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(start, found)| !code[..start].ends_with(is_part) && !code[start + found.len()..].starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        Source::read(text).lines.into_iter().map(|line| line.code.trim().to_owned()).collect()
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(code("a(\"x // y\"); // b\nc"), ["a( );", "c"]);
        assert_eq!(code("a /* b /* c */ d\n e */ f"), ["a", "f"]);
        assert_eq!(code("let s = r#\"x\" { \"#; y"), ["let s =  ; y"]);
        assert_eq!(code("let s = br\"x{\"; y"), ["let s = b ; y"]);
        assert_eq!(code("m('\"', '\\'', '{'); n<'a>"), ["m( ,  ,  ); n<'a>"]);
        assert_eq!(code("\"a\\\"b{\\\n c\" d"), ["", "d"]);
    }

    #[test]
    fn an_item_under_cfg_test_is_marked_to_its_end() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {\n  }\n}\nfn c() {}\n#[cfg(test)]\nuse x;\nfn d() {}";
        let marked: Vec<_> = Source::read(text).numbered().filter(|(_, line)| line.in_test).map(|(n, _)| n).collect();
        assert_eq!(marked, [2, 3, 4, 5, 6, 8, 9]);
    }

    #[test]
    fn the_feature_testing_is_for_tests() {
        let marked = |text: &str| Source::read(text).lines[1].in_test;
        assert!(marked("#[cfg(feature = \"testing\")]\nmod model;"));
        assert!(marked("#[cfg(any(test, feature = \"testing\"))]\nmod model;"));
        assert!(!marked("#[cfg(not(feature = \"testing\"))]\nmod real;"));
        assert!(!marked("#[cfg(feature = \"other\")]\nmod real;"));
        assert!(!marked("#[cfg(not(test))]\nmod real;"));
    }

    #[test]
    fn test_modules_are_named() {
        let source = Source::read("mod a;\n#[cfg(test)]\npub mod b;\n#[cfg(all(test, x))] mod c;\nmod d;");
        assert_eq!(source.test_modules().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn words_end_at_word_ends() {
        assert!(has_word("use std::fs;", "std::fs"));
        assert!(!has_word("use std::fsync;", "std::fs"));
        assert!(!has_word("mystd::fs", "std::fs"));
    }
}
