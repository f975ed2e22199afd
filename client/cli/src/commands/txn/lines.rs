//! Scripts as text: one statement a line.

use bytes::Bytes;
use lentic_client::{KeyRange, MergeOperator, prefix_range};

use super::script::{ScriptError, check_count};
use super::statement::{Action, Condition, Statement};
use super::words::{Word, words};
use crate::args::version;
use crate::text::{Span, Syntax, operand};

/// The statements of a script. Keys and values are written in `syntax`.
pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Vec<Statement>, ScriptError> {
    let mut statements = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |message| ScriptError::at(line, message);
        let words = words(text).map_err(wrong)?;
        if !words.is_empty() {
            let (table, action) = statement(words, syntax).map_err(wrong)?;
            statements.push(Statement { line, table, action });
            check_count(statements.len())?;
        }
    }
    Ok(statements)
}

/// The table and the action of a line.
fn statement(words: Vec<Word>, syntax: Syntax) -> Result<(String, Action), String> {
    let mut words = words.into_iter();
    let word = words.next().map(|word| word.text).unwrap_or_default();
    let form = Form::of(&word)?;
    let mut rest = Rest::new(form, words, syntax)?;
    let table = rest.next("TABLE")?;
    let action = match form.word {
        "get" => Action::Get { key: rest.bytes("KEY")? },
        "scan" => scan(&mut rest)?,
        "put" => Action::Put { key: rest.bytes("KEY")?, value: rest.bytes("VALUE")?, ttl: rest.ttl()? },
        "delete" => Action::Delete { key: rest.bytes("KEY")? },
        "delete-range" => {
            let (start, end) = (rest.bytes("START")?, rest.bytes("END")?);
            Action::DeleteRange { range: range(start, Some(end))? }
        }
        "merge" => merge(&mut rest)?,
        "require" => Action::Require { key: rest.bytes("KEY")?, condition: condition(&mut rest)? },
        _ => Action::Fence { token: token(&rest.next("TOKEN")?)? },
    };
    rest.end()?;
    Ok((table, action))
}

fn scan(rest: &mut Rest) -> Result<Action, String> {
    let limit = rest.option("--limit").map(|rows| {
        rows.parse::<u64>().map_err(|_| format!("expected a number of rows behind --limit, found {rows:?}"))
    });
    let limit = limit.transpose()?;
    if let Some(prefix) = rest.option("--prefix") {
        let prefix = rest.parse("prefix", &prefix)?;
        return Ok(Action::Scan { range: prefix_range(prefix), limit });
    }
    let start = if rest.is_over() { Bytes::new() } else { rest.bytes("START")? };
    let end = if rest.is_over() { None } else { Some(rest.bytes("END")?) };
    Ok(Action::Scan { range: range(start, end)?, limit })
}

fn merge(rest: &mut Rest) -> Result<Action, String> {
    let key = rest.bytes("KEY")?;
    let operator = operator(&rest.next("OPERATOR")?)?;
    let mut operands = vec![rest.next("OPERAND")?];
    operands.extend(rest.words.by_ref());
    let operand = operand(operator, &operands, rest.syntax)?.into();
    Ok(Action::Merge { key, operator, operand, ttl: rest.ttl()? })
}

fn condition(rest: &mut Rest) -> Result<Condition, String> {
    match &*rest.next("condition")? {
        "exists" => Ok(Condition::Exists),
        "absent" => Ok(Condition::Absent),
        "value" => rest.bytes("VALUE").map(Condition::Value),
        "version" => version(&rest.next("VERSION")?).map(Condition::Version),
        found => Err(format!("expected exists, absent, value VALUE or version VERSION, found {found:?}")),
    }
}

pub(super) fn range(start: Bytes, end: Option<Bytes>) -> Result<KeyRange, String> {
    KeyRange::new(start, end).map_err(|_| "the end is not above the start, so there is no key between them".to_owned())
}

pub(super) fn operator(name: &str) -> Result<MergeOperator, String> {
    MergeOperator::from_name(name).ok_or_else(|| {
        let names = MergeOperator::ALL.map(|(_, name)| name).join(", ");
        format!("expected an operator of {names}, found {name:?}")
    })
}

pub(super) fn token(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a token, which is a number from 0 to 2^64 - 1, found {text:?}"))
}

pub(super) fn ttl(text: &str) -> Result<Span, String> {
    text.parse().map_err(|error: crate::text::SpanError| error.to_string())
}

/// How a statement is written.
#[derive(Clone, Copy)]
struct Form {
    word: &'static str,
    usage: &'static str,
    options: &'static [&'static str],
}

const FORMS: [Form; 8] = [
    Form { word: "get", usage: "get TABLE KEY", options: &[] },
    Form {
        word: "scan",
        usage: "scan TABLE [START [END]] [--limit N], or --prefix KEY instead of START",
        options: &["--limit", "--prefix"],
    },
    Form { word: "put", usage: "put TABLE KEY VALUE [--ttl SPAN]", options: &["--ttl"] },
    Form { word: "delete", usage: "delete TABLE KEY", options: &[] },
    Form { word: "delete-range", usage: "delete-range TABLE START END", options: &[] },
    Form { word: "merge", usage: "merge TABLE KEY OPERATOR OPERAND... [--ttl SPAN]", options: &["--ttl"] },
    Form { word: "require", usage: "require TABLE KEY exists|absent|value VALUE|version VERSION", options: &[] },
    Form { word: "fence", usage: "fence TABLE TOKEN", options: &[] },
];

impl Form {
    fn of(word: &str) -> Result<Self, String> {
        FORMS.into_iter().find(|form| form.word == word).ok_or_else(|| {
            let known = FORMS.map(|form| form.word).join(", ");
            format!("expected a statement ({known}), found {word:?}")
        })
    }
}

/// What is left of a line.
struct Rest {
    usage: &'static str,
    words: std::vec::IntoIter<String>,
    options: Vec<(String, String)>,
    syntax: Syntax,
}

impl Rest {
    fn new(form: Form, mut words: impl Iterator<Item = Word>, syntax: Syntax) -> Result<Self, String> {
        let Form { usage, options: known, .. } = form;
        let (mut plain, mut options) = (Vec::new(), Vec::<(String, String)>::new());
        while let Some(Word { text, is_bare }) = words.next() {
            if !is_bare || !text.starts_with("--") {
                plain.push(text);
                continue;
            }
            if !known.contains(&&*text) {
                return Err(format!("expected {usage}, found {text}; put it in quotes if it is no option"));
            }
            if options.iter().any(|(name, _)| *name == text) {
                return Err(format!("{text} is given twice"));
            }
            let value = words.next().ok_or_else(|| format!("{text} has no value; expected {usage}"))?;
            options.push((text, value.text));
        }
        Ok(Self { usage, words: plain.into_iter(), options, syntax })
    }

    fn next(&mut self, what: &str) -> Result<String, String> {
        self.words.next().ok_or_else(|| format!("there is no {what}; expected {}", self.usage))
    }

    fn bytes(&mut self, what: &str) -> Result<Bytes, String> {
        let text = self.next(what)?;
        self.parse(&what.to_lowercase(), &text)
    }

    fn parse(&self, what: &str, text: &str) -> Result<Bytes, String> {
        self.syntax.parse(text).map(Bytes::from).map_err(|error| format!("{what} {text:?}: {error}"))
    }

    fn option(&mut self, name: &str) -> Option<String> {
        let at = self.options.iter().position(|(known, _)| known == name)?;
        Some(self.options.remove(at).1)
    }

    fn ttl(&mut self) -> Result<Option<Span>, String> {
        self.option("--ttl").map(|text| ttl(&text)).transpose()
    }

    fn is_over(&self) -> bool {
        self.words.len() == 0
    }

    fn end(mut self) -> Result<(), String> {
        match self.words.next() {
            Some(word) => Err(format!("expected {}, found {word:?} behind it; put blanks in quotes", self.usage)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let statements = parse(text, Syntax::Text).map_err(|error| error.to_string())?;
        Ok(statements.iter().map(|statement| format!("{}: {statement}", statement.line)).collect())
    }

    #[test]
    fn every_statement_is_read() {
        let script = "\
# A transfer.
get accounts ann
scan accounts
scan accounts a --limit 5
scan accounts '' b

scan accounts --prefix a --limit 0   # none
put notes 'a b' \"it's\" --ttl 1h30m
put notes --ttl 5s k '--ttl'
delete notes k
delete-range notes a b
merge accounts ann add-i64 -5
merge sets s set-union b a b --ttl 1d
require accounts ann exists\r
require accounts bob absent
require accounts ann value '#1'
require accounts ann version v7
fence accounts 18446744073709551615";
        let expected = [
            "2: get accounts ann",
            "3: scan accounts",
            "4: scan accounts a --limit 5",
            "5: scan accounts '' b",
            "7: scan accounts a b --limit 0",
            "8: put notes 'a b' 'it\\x27s' --ttl 1h30m",
            "9: put notes k '--ttl' --ttl 5s",
            "10: delete notes k",
            "11: delete-range notes a b",
            "12: merge accounts ann add-i64 -5",
            "13: merge sets s set-union a b --ttl 1d",
            "14: require accounts ann exists",
            "15: require accounts bob absent",
            "16: require accounts ann value '#1'",
            "17: require accounts ann version v7",
            "18: fence accounts 18446744073709551615",
        ];
        assert_eq!(shown(script).unwrap(), expected);
    }

    #[test]
    fn bytes_are_in_the_syntax_asked_for() {
        let read = |syntax, text| parse(text, syntax).unwrap().remove(0).action;
        let (key, value) = (Bytes::from_static(b"\0\xff"), Bytes::from_static(b"ab"));
        let put = Action::Put { key, value, ttl: None };
        assert_eq!(read(Syntax::Hex, "put t 00ff '61 62'"), put);
        assert_eq!(read(Syntax::Escaped, "put t \\x00\\xff a\\x62"), put);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = [
            (
                "\n\ngett t k",
                "line 3: expected a statement (get, scan, put, delete, delete-range, merge, require, fence), found \"gett\"",
            ),
            ("get t", "line 1: there is no KEY; expected get TABLE KEY"),
            ("put", "line 1: there is no TABLE; expected put TABLE KEY VALUE [--ttl SPAN]"),
            (
                "put t k a b",
                "line 1: expected put TABLE KEY VALUE [--ttl SPAN], found \"b\" behind it; put blanks in quotes",
            ),
            ("put t k --x", "line 1: expected put TABLE KEY VALUE [--ttl SPAN], found --x; put it in quotes"),
            ("put t k v --ttl", "line 1: --ttl has no value; expected put"),
            ("put t k v --ttl 1s --ttl 2s", "line 1: --ttl is given twice"),
            ("put t k v --ttl soon", "line 1: expected a span of time"),
            ("put t k 'v", "line 1: expected a closing ' on the same line"),
            ("scan t --limit few", "line 1: expected a number of rows behind --limit, found \"few\""),
            ("scan t a --prefix b", "line 1: expected scan TABLE [START [END]] [--limit N], or"),
            ("scan t b a", "line 1: the end is not above the start"),
            ("delete-range t a", "line 1: there is no END; expected delete-range TABLE START END"),
            ("merge t k add 5", "line 1: expected an operator of add-i64,"),
            ("merge t k add-i64 x", "line 1: add-i64 expects an integer"),
            ("merge t k append a b", "line 1: append takes one operand, found 2"),
            ("require t k", "line 1: there is no condition; expected require TABLE KEY exists|absent"),
            ("require t k there", "line 1: expected exists, absent, value VALUE or version VERSION, found \"there\""),
            ("require t k version x", "line 1: expected a version, as in v8912896"),
            ("fence t -1", "line 1: expected a token"),
        ];
        for (script, start) in wrong {
            let error = shown(script).unwrap_err();
            assert!(error.starts_with(start), "{script}: {error}");
        }
        let hex = parse("put t 0 v", Syntax::Hex).unwrap_err().to_string();
        assert_eq!(hex, "line 1: key \"0\": expected two hex digits for each byte, found 1 in all");
    }

    #[test]
    fn a_script_has_only_so_many_statements() {
        let error = parse(&"get t k\n".repeat(100_001), Syntax::Text).unwrap_err();
        assert!(error.to_string().starts_with("the script has more than 100,000 statements"), "{error}");
    }

    proptest! {
        #[test]
        fn any_line_is_a_statement_or_refused(word in "get|scan|put|merge|require|fence", rest: String) {
            let _ = parse(&format!("{word} {rest}"), Syntax::Escaped);
        }
    }
}
