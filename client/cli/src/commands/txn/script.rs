//! Scripts: statements that are run as one transaction.

use std::collections::BTreeMap;
use std::fmt;

use lentic_client::ErrorKind;
use lentic_types::limits::{TXN_BYTES_MAX, TXN_KEYS_MAX};

use super::statement::{Action, Statement};
use super::{lines, members};
use crate::failure::Failure;
use crate::text::{Syntax, count, quantity_of_bytes};

/// A script that was understood.
#[derive(Clone, Debug)]
pub(super) struct Script {
    statements: Vec<Statement>,
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScriptError {
    /// Its line, from 1, if it is about one.
    line: Option<usize>,
    message: String,
}

impl ScriptError {
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    fn whole(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<ScriptError> for Failure {
    fn from(error: ScriptError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Refuses more statements than a transaction can have.
pub(super) fn check_count(statements: usize) -> Result<(), ScriptError> {
    if statements <= TXN_KEYS_MAX {
        return Ok(());
    }
    let most = count(TXN_KEYS_MAX as u64);
    Err(ScriptError::whole(format!("the script has more than {most} statements, the most of a transaction; split it")))
}

impl Script {
    /// Reads a script. It is JSON if it begins as an object or a list does; else it is text, with keys and values in
    /// `syntax`.
    pub(super) fn parse(bytes: &[u8], syntax: Syntax) -> Result<Self, ScriptError> {
        if bytes.len() > TXN_BYTES_MAX {
            let most = quantity_of_bytes(TXN_BYTES_MAX as u64);
            return Err(ScriptError::whole(format!(
                "the script has more than {most}, the most of a transaction; split it"
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            ScriptError::at(line, "expected UTF-8; write other bytes with --escaped or --hex")
        })?;
        let is_json = text.trim_start().starts_with(['{', '[']);
        let statements = match (is_json, syntax) {
            (true, Syntax::Text) => members::parse(text)?,
            (true, _) => {
                let message =
                    "--hex and --escaped are for scripts as text; in JSON, put _hex after the name of a member";
                return Err(ScriptError::whole(message));
            }
            (false, syntax) => lines::parse(text, syntax)?,
        };
        let script = Self { statements };
        script.check_fences()?;
        match script.statements.is_empty() {
            true => Err(ScriptError::whole("the script has no statement; `lentic txn --help` shows them")),
            false => Ok(script),
        }
    }

    /// A table has one token, and something to use it for.
    fn check_fences(&self) -> Result<(), ScriptError> {
        let mut fences: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for Statement { line, table, action } in &self.statements {
            let Action::Fence { token } = action else { continue };
            let (first, known) = *fences.entry(table).or_insert((*line, *token));
            if known != *token {
                let message =
                    format!("table {table} has token {known} from line {first} on; one script has one of a table");
                return Err(ScriptError::at(*line, message));
            }
        }
        let used = self.statements.iter().filter(|statement| !matches!(statement.action, Action::Fence { .. }));
        for statement in used {
            fences.remove(&*statement.table);
        }
        match fences.into_iter().next() {
            Some((table, (line, _))) => {
                Err(ScriptError::at(line, format!("table {table} has a token, and no other statement uses it")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Whether some value is to end.
    pub(super) fn has_ends(&self) -> bool {
        self.statements.iter().any(|statement| statement.action.ttl().is_some())
    }

    /// The failure of the transaction with the statement that it is about, if it is about one: its line in the message, its
    /// number from 0 as the position.
    pub(super) fn placed(&self, failure: Failure) -> Failure {
        const CONDITION_FAILED: &str = ErrorKind::ConditionFailed.word();
        const WRONG_KIND: &str = ErrorKind::WrongKind.word();
        const TOO_LARGE: &str = ErrorKind::TooLarge.word();
        let position = failure.position.and_then(|position| usize::try_from(position).ok());
        let (is_meant, rest): (fn(&Action) -> bool, _) = match failure.kind {
            CONDITION_FAILED => (Action::is_condition, "does not hold; read again, then decide again"),
            WRONG_KIND => (Action::is_write, "meets a value of another kind; check the key and the operator"),
            TOO_LARGE => (Action::is_write, "would exceed a limit; ask for less, or continue in parts"),
            _ => return Failure { position: None, ..failure },
        };
        let mut meant = self.statements.iter().enumerate().filter(|(_, statement)| is_meant(&statement.action));
        match position.and_then(|position| meant.nth(position)) {
            Some((number, Statement { line, action, .. })) => Failure {
                message: format!("line {line}: {} {rest}", action.word()),
                position: u32::try_from(number).ok(),
                ..failure
            },
            None => Failure { position: None, ..failure },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(text.as_bytes(), Syntax::Text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_character_tells_the_notation() {
        for script in ["get t k", "\n {\"statements\":[{\"get\":{\"table\":\"t\",\"key\":\"k\"}}]}"] {
            assert_eq!(parse(script).unwrap().statements[0].to_string(), "get t k", "{script}");
        }
        let error = Script::parse(b"[]", Syntax::Hex).unwrap_err().to_string();
        assert!(error.starts_with("--hex and --escaped are for scripts as text"), "{error}");
    }

    #[test]
    fn a_script_is_whole_or_refused() {
        for (script, expected) in [
            ("", "the script has no statement; `lentic txn --help` shows them"),
            ("# nothing", "the script has no statement; `lentic txn --help` shows them"),
            ("[]", "the script has no statement; `lentic txn --help` shows them"),
            (
                "fence t 1\nput t k v\nfence t 2",
                "line 3: table t has token 1 from line 1 on; one script has one of a table",
            ),
            ("get u k\nfence t 1", "line 2: table t has a token, and no other statement uses it"),
        ] {
            assert_eq!(parse(script).unwrap_err(), expected, "{script}");
        }
        assert!(parse("fence t 1\nfence t 1\nput t k v").is_ok());
        let error = Script::parse(b"get t k\nget t \xff", Syntax::Text).unwrap_err().to_string();
        assert_eq!(error, "line 2: expected UTF-8; write other bytes with --escaped or --hex");
        let large = vec![b'#'; TXN_BYTES_MAX + 1];
        let error = Script::parse(&large, Syntax::Text).unwrap_err().to_string();
        assert_eq!(error, "the script has more than 64.0 MiB, the most of a transaction; split it");
    }

    #[test]
    fn failures_name_the_statement() {
        let script =
            parse("put t a 1\nrequire t a absent\nget t a\n\nmerge t a add-i64 1\nrequire t b exists").unwrap();
        let placed = |kind: ErrorKind, position| {
            let failure = Failure { kind: kind.word(), position: Some(position), ..Failure::usage("as it was") };
            let failure = script.placed(failure);
            (failure.position, failure.message)
        };
        let words = |text: &str| text.to_owned();
        let held = words("line 6: require does not hold; read again, then decide again");
        assert_eq!(placed(ErrorKind::ConditionFailed, 1), (Some(4), held));
        let kind = words("line 5: merge meets a value of another kind; check the key and the operator");
        assert_eq!(placed(ErrorKind::WrongKind, 1), (Some(3), kind));
        assert_eq!(placed(ErrorKind::TooLarge, 0).0, Some(0));
        assert_eq!(placed(ErrorKind::TooLarge, 7), (None, words("as it was")));
        assert_eq!(placed(ErrorKind::Conflict, 0), (None, words("as it was")));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(key: Vec<u8>, value: Vec<u8>, members in prop::collection::vec(any::<Vec<u8>>(), 1..4)) {
            let hex = |bytes: &[u8]| crate::text::Hex(bytes).to_string();
            let members: Vec<String> = members.iter().map(|member| format!("'{}'", hex(member))).collect();
            let (key, value, members) = (hex(&key), hex(&value), members.join(" "));
            let text = format!(
                "get t '{key}'\nscan t '{key}' --limit 3\nput t '{key}' '{value}' --ttl 7s\nrequire t '{key}' value '{value}'
                 merge t '{key}' set-union {members}\nmerge t '{key}' append '{value}'\nmerge t '{key}' max-f64 -0.25"
            );
            let actions = |bytes: &[u8], syntax| -> Vec<Action> {
                let script = Script::parse(bytes, syntax).unwrap();
                script.statements.into_iter().map(|statement| statement.action).collect()
            };
            let script = Script::parse(text.as_bytes(), Syntax::Hex).unwrap();
            let expected = actions(text.as_bytes(), Syntax::Hex);
            let shown: Vec<String> = script.statements.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&actions(shown.join("\n").as_bytes(), Syntax::Escaped), &expected);
            prop_assert_eq!(&actions(&serde_json::to_vec(&script.statements).unwrap(), Syntax::Text), &expected);
        }

        #[test]
        fn any_text_is_a_script_or_refused(text: String) {
            let _ = parse(&text);
            let _ = parse(&format!("[{text}"));
        }
    }
}
