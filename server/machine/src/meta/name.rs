//! How a table may be called.

use lentic_types::limits::NAME_PART_BYTES_MAX;

use super::outcome::MetaRefusal;

/// The namespace of a table whose name does not say one.
const DEFAULT_NAMESPACE: &str = "default";

/// The name as the catalog has it, `namespace.name`. A name without a namespace is in `default`.
///
/// # Errors
/// A refusal that says what is wrong with the name.
pub fn canonical_name(name: &str) -> Result<String, MetaRefusal> {
    let (namespace, table) = name.split_once('.').unwrap_or((DEFAULT_NAMESPACE, name));
    for part in [namespace, table] {
        let invalid = |reason: &'static str| Err(MetaRefusal::InvalidName(reason.into()));
        if part.is_empty() || part.len() > NAME_PART_BYTES_MAX {
            return invalid("its namespace and what follows have 1 to 64 bytes each");
        }
        if part.contains('.') {
            return invalid("it has one dot at most, between namespace and name");
        }
        if !part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')) {
            return invalid("use the letters a to z, digits, _ and -");
        }
        if !part.as_bytes()[0].is_ascii_alphanumeric() {
            return invalid("its namespace and what follows begin with a letter or a digit");
        }
    }
    Ok(format!("{namespace}.{table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_name_are_one() {
        assert_eq!(canonical_name("orders"), Ok("default.orders".to_owned()));
        assert_eq!(canonical_name("default.orders"), canonical_name("orders"));
        assert_eq!(canonical_name("a-1.0_x"), Ok("a-1.0_x".to_owned()));
        let long = "x".repeat(NAME_PART_BYTES_MAX);
        assert_eq!(canonical_name(&format!("{long}.{long}")), Ok(format!("{long}.{long}")));
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "x".repeat(NAME_PART_BYTES_MAX + 1);
        for name in
            ["", ".", "a.", ".a", "a.b.c", "a..b", "Orders", "a b", "_a", "-a", "a._b", "ä", "a/b", "a\0", &long]
        {
            let refusal = canonical_name(name).expect_err(name);
            assert_eq!(refusal.kind(), lentic_types::ErrorKind::Invalid, "{name}");
        }
    }
}
