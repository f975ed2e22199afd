//! What a command answers, in every format.

use serde::Serialize;

/// What a command answers. JSON is its [`Serialize`].
pub(crate) trait Answer: Serialize {
    /// For people: whole lines.
    fn human(&self) -> String;

    /// For scripts: fields of lines. Fields are separated by tabs, and must not contain tabs or line ends.
    fn plain(&self) -> Vec<Vec<String>>;
}
