//! Templates of keys: `flights/{origin}/{year}-{month:02}`.

use std::str::FromStr;

/// How a key is put together from columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// With a width, shorter text gets zeros in front, so that numbers sort as such; longer text is refused.
    Column {
        name: String,
        width: Option<usize>,
    },
}

/// Most characters that zeros may fill a column up to.
const WIDTH_MAX: usize = 64;

impl Template {
    /// The columns in their order, with slashes between.
    pub(super) fn of_columns(columns: &[String]) -> Self {
        let mut parts = Vec::new();
        for column in columns {
            if !parts.is_empty() {
                parts.push(Part::Literal("/".to_owned()));
            }
            parts.push(Part::Column { name: column.clone(), width: None });
        }
        Self(parts)
    }

    /// The names of the columns it uses.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Column { name, .. } => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The key, of columns as `text_of` gives them.
    ///
    /// # Errors
    /// What `text_of` says, or that the key is empty or a column too long for its width.
    pub(super) fn key<'a, T: AsRef<str>>(
        &'a self,
        mut text_of: impl FnMut(&'a str) -> Result<T, String>,
    ) -> Result<Vec<u8>, String> {
        let mut key = Vec::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => key.extend_from_slice(text.as_bytes()),
                Part::Column { name, width } => {
                    let text = text_of(name)?;
                    let (text, width) = (text.as_ref(), width.unwrap_or(0));
                    let length = text.chars().count();
                    if width > 0 && length > width {
                        return Err(format!("column {name} has {length} characters, more than its width of {width}"));
                    }
                    key.resize(key.len() + width.saturating_sub(length), b'0');
                    key.extend_from_slice(text.as_bytes());
                }
            }
        }
        if key.is_empty() { Err("the key is empty".to_owned()) } else { Ok(key) }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let inside = (brace == "{").then(|| rest.split_once('}')).flatten();
            let (inside, after) =
                inside.ok_or("a brace stands alone; write a column as {name}, and a brace as {{ or }}")?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(column(inside)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let template = Self(parts);
        if template.columns().next().is_none() {
            return Err("expected at least one {column}, or all rows would have the same key".to_owned());
        }
        Ok(template)
    }
}

/// `name`, or `name:05`.
fn column(text: &str) -> Result<Part, String> {
    let (name, width) = match text.split_once(':') {
        Some((name, found)) => {
            let digits = found.strip_prefix('0').and_then(|width| width.parse().ok());
            let width: Option<usize> = digits.filter(|width| (1..=WIDTH_MAX).contains(width));
            if width.is_none() {
                return Err(format!("expected a width of 01 to 0{WIDTH_MAX} after {name}:, found {found:?}"));
            }
            (name, width)
        }
        None => (text, None),
    };
    if name.is_empty() || name.contains('{') {
        return Err(format!("expected the name of a column between braces, found {text:?}"));
    }
    Ok(Part::Column { name: name.to_owned(), width })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(template: &str) -> Result<String, String> {
        let columns = [("origin", "JFK"), ("month", "3"), ("none", "")];
        let template: Template = template.parse()?;
        let key = template.key(|name| {
            let found = columns.iter().find(|(column, _)| *column == name).map(|(_, text)| *text);
            found.ok_or_else(|| format!("there is no column {name}"))
        })?;
        Ok(String::from_utf8(key).unwrap())
    }

    #[test]
    fn keys_are_put_together() {
        assert_eq!(key("{origin}").as_deref(), Ok("JFK"));
        assert_eq!(key("a/{origin}-{month:02}.").as_deref(), Ok("a/JFK-03."));
        assert_eq!(key("{{{month}}}{none}").as_deref(), Ok("{3}"));
        assert_eq!(Template::of_columns(&["a".to_owned(), "b".to_owned()]), "{a}/{b}".parse().unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let brace = "a brace stands alone; write a column as {name}, and a brace as {{ or }}";
        assert_eq!(key("{origin").unwrap_err(), brace);
        assert_eq!(key("origin}{month}").unwrap_err(), brace);
        assert!(key("constant").unwrap_err().starts_with("expected at least one {column}"));
        assert!(key("{}").unwrap_err().starts_with("expected the name of a column"));
        assert!(key("{a{b}").unwrap_err().starts_with("expected the name of a column"));
        assert_eq!(key("{month:2}").unwrap_err(), "expected a width of 01 to 064 after month:, found \"2\"");
        assert_eq!(key("{other}").unwrap_err(), "there is no column other");
        assert_eq!(key("{none}").unwrap_err(), "the key is empty");
        assert_eq!(key("{origin:02}").unwrap_err(), "column origin has 3 characters, more than its width of 2");
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_refused(text: String) {
            let _ = key(&text);
        }
    }
}
