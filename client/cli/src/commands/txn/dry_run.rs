//! What a script would do.

use std::collections::BTreeSet;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::script::Script;
use super::statement::Action;
use crate::output::Answer;
use crate::text::count;

/// A script that is only shown. People and JSON get a script again: as text, `--escaped` reads it.
pub(super) struct DryRun<'a>(pub(super) &'a Script);

impl DryRun<'_> {
    /// `# 2 reads, 1 condition, 3 writes; tables: 2; nothing was sent`
    fn summary(&self) -> String {
        let statements = self.0.statements();
        let of = |is_one: fn(&Action) -> bool, word: &str| {
            let found = statements.iter().filter(|statement| is_one(&statement.action)).count();
            format!("{} {word}{}", count(found as u64), if found == 1 { "" } else { "s" })
        };
        let parts = [of(Action::is_read, "read"), of(Action::is_condition, "condition"), of(Action::is_write, "write")];
        let tables: BTreeSet<&str> = statements.iter().map(|statement| &*statement.table).collect();
        format!("# {}; tables: {}; nothing was sent\n", parts.join(", "), tables.len())
    }
}

impl Answer for DryRun<'_> {
    fn human(&self) -> String {
        let lines = self.0.statements().iter().map(|statement| format!("{statement}\n"));
        self.summary() + &lines.collect::<String>()
    }

    /// The line in the script, and the statement.
    fn plain(&self) -> Vec<Vec<String>> {
        let statements = self.0.statements().iter();
        statements.map(|statement| vec![statement.line.to_string(), statement.to_string()]).collect()
    }
}

impl Serialize for DryRun<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("outcome", "dry_run")?;
        map.serialize_entry("statements", self.0.statements())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;
    use crate::text::Syntax;

    #[test]
    fn a_dry_run_is_a_script_again() {
        let text = b"get t k\n\nput t 'a b' 00\nmerge u n add-i64 5 --ttl 1m\nrequire u n exists\n";
        let script = Script::parse(text, Syntax::Text).unwrap();
        let [human, plain, json] = shapes_of(&DryRun(&script));
        assert_eq!(
            human,
            "# 1 read, 1 condition, 2 writes; tables: 2; nothing was sent\n\
             get t k\nput t 'a b' 00\nmerge u n add-i64 5 --ttl 1m\nrequire u n exists\n"
        );
        assert_eq!(plain, "1\tget t k\n3\tput t 'a b' 00\n4\tmerge u n add-i64 5 --ttl 1m\n5\trequire u n exists\n");
        assert_eq!(
            json,
            "{\"outcome\":\"dry_run\",\"statements\":[{\"get\":{\"table\":\"t\",\"key\":\"k\"}},\
             {\"put\":{\"table\":\"t\",\"key\":\"a b\",\"value\":\"00\"}},{\"merge\":{\"table\":\"u\",\"key\":\"n\",\
             \"operator\":\"add-i64\",\"operand\":\"5\",\"ttl\":\"1m\"}},{\"require\":{\"table\":\"u\",\"key\":\"n\",\
             \"exists\":true}}]}\n"
        );
        for again in [human, json] {
            let syntax = if again.starts_with('{') { Syntax::Text } else { Syntax::Escaped };
            let again = Script::parse(again.as_bytes(), syntax).unwrap();
            assert_eq!(shapes_of(&DryRun(&again))[2], shapes_of(&DryRun(&script))[2]);
        }
    }
}
