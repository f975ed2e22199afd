//! Recipes: what becomes the key of a row, and what its value.

use super::template::Template;

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipe {
    /// Key, value and end are there as `dump` writes them.
    Dumped,
    /// They are made of columns.
    Made { key: Template, value: ValueRecipe },
}

/// What becomes the value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueRecipe {
    /// The whole row, as a JSON object.
    Row,
    /// One column, as it is.
    Column(String),
}
