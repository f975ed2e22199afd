//! Words that have no place: in product code, in tests, in any file.

use super::source::{Line, Source};
use super::tree::{File, Finding, Tree};

/// Refused in product code: each word and what to do instead.
const PRODUCT: &[(&str, &str)] = &[
    ("todo!", "finish it, or return an error that says it is not supported"),
    ("unimplemented!", "finish it, or return an error that says it is not supported"),
    ("dbg!", "remove it"),
    (".unwrap()", "handle the case, or `expect` with the reason why it holds"),
];

/// Refused in all Rust, tests too.
const ANYWHERE: &[(&str, &str)] = &[
    ("#[ignore", "make the test fast and sure, or delete it; a test that does not run guards nothing"),
    ("dbg!", "remove it"),
];

/// Refused in tests.
const IN_TESTS: &[(&str, &str)] = &[(
    "thread::sleep",
    "wait for the thing itself, with a bound, or drive the clock; sleeps make tests slow and unsure",
)];

/// Refused in comments. Put together from halves, for this file is judged too.
const IN_COMMENTS: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "fix it, or say what is not done in a sentence"),
    (concat!("XX", "X"), "fix it, or say what is not done in a sentence"),
];

/// Refused in every text file: the marks of one person's machine.
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// All rules on words.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        findings.extend(check_places(file));
        if let Some(source) = file.source.as_ref().filter(|_| !file.is_generated()) {
            let for_tests = tree.is_for_tests(&file.path);
            for (number, line) in source.numbered() {
                let words = refused(line, for_tests).map(|(word, advice)| format!("`{word}`: {advice}"));
                findings.extend(words.map(|message| Finding::new(&file.path, number, message)));
            }
            findings.extend(check_exemptions(&file.path, source));
        }
    }
    findings
}

/// The refused words of a line, each with what to do.
fn refused(line: &Line, for_tests: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = if for_tests || line.in_test { IN_TESTS } else { PRODUCT };
    // `dbg!` is in two tables; report it once.
    let everywhere = ANYWHERE.iter().filter(move |(word, _)| !own.iter().any(|(other, _)| other == word));
    let in_code = own.iter().chain(everywhere).filter(|(word, _)| stands_in(&line.code, word));
    let in_comments = IN_COMMENTS.iter().filter(|(word, _)| stands_in(&line.comment, word));
    in_code.chain(in_comments).copied()
}

/// Whether `word` is in `text` and not the tail of a longer word.
fn stands_in(text: &str, word: &str) -> bool {
    let starts_in_word = word.starts_with(|c: char| c.is_alphanumeric());
    text.match_indices(word)
        .any(|(at, _)| !starts_in_word || !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// A lint is switched off only with a reason.
fn check_exemptions(path: &str, source: &Source) -> Vec<Finding> {
    let starts = source.numbered().filter(|(_, line)| {
        ["allow(", "expect("]
            .iter()
            .any(|word| line.code.contains(&format!("#[{word}")) || line.code.contains(&format!("#![{word}")))
    });
    let without = starts.filter(|(number, _)| !source.code_until(*number, &[']']).contains("reason ="));
    without
        .map(|(number, _)| {
            Finding::new(path, number, "a lint is off without a reason; add `reason = \"…\"`, or obey it")
        })
        .collect()
}

fn check_places(file: &File) -> Vec<Finding> {
    let Some(text) = &file.text else { return Vec::new() };
    let mut findings = Vec::new();
    for (place, line) in text.lines().enumerate() {
        for word in PLACES.iter().filter(|word| stands_alone(line, word)) {
            let message = format!("`{word}` is a path of one machine; write it from the repository's root");
            findings.push(Finding::new(&file.path, place + 1, message));
        }
    }
    findings
}

/// Whether an absolute path begins with `word` in `line`: no letter, digit or dot stands before it, as in `docs/…` or
/// `https://host/…`.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn refused_words_of_the_product_are_caught() {
        for (word, _) in PRODUCT {
            assert_eq!(found("a/src/x.rs", &format!("fn f() {{\n    {word};\n}}")), [2], "{word}");
        }
        assert_eq!(found("a/src/x.rs", "// .unwrap() is bad\nlet s = \"dbg!\";\nx.unwrap_or(1);"), []);
        assert_eq!(found("a/tests/x.rs", "x.unwrap();"), []);
        assert_eq!(found("a/src/x.rs", "#[cfg(test)]\nmod tests {\n    x.unwrap();\n}\ny.unwrap();"), [5]);
    }

    #[test]
    fn refused_words_of_tests_are_caught() {
        assert_eq!(found("a/tests/x.rs", "std::thread::sleep(d);"), [1]);
        assert_eq!(found("a/src/x.rs", "#[cfg(test)]\nmod tests {\n    thread::sleep(d);\n}"), [3]);
        assert_eq!(found("a/tests/x.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() { dbg!(1) }"), [2, 3]);
    }

    #[test]
    fn marks_in_comments_are_caught() {
        for (word, _) in IN_COMMENTS {
            assert_eq!(found("a/src/x.rs", &format!("x();\n// {word}: later")), [2]);
            assert_eq!(found("a/src/x.rs", &format!("/* a\n * {word} */")), [2]);
        }
    }

    #[test]
    fn a_lint_off_without_a_reason_is_caught() {
        assert_eq!(found("a/src/x.rs", "x\n#[allow(unused)]\nfn f() {}"), [2]);
        assert_eq!(found("a/src/x.rs", "#![expect(\n    unused,\n)]"), [1]);
        assert_eq!(found("a/src/x.rs", "#[allow(\n    unused,\n    reason = \"a reason\"\n)]\nfn f() {}"), []);
    }

    #[test]
    fn places_of_one_machine_are_caught() {
        for place in PLACES {
            assert_eq!(found("docs/x.md", &format!("see\n`{place}x`")), [2]);
            assert_eq!(found("docs/x.md", &format!("https://host.org{place}x")), []);
        }
    }
}
