//! Ranges of keys.

use clap::Args;
use lentic_client::{KeyRange, prefix_range};

use super::keys::SyntaxArgs;
use crate::failure::Failure;

/// Which keys.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RangeArgs {
    /// The keys that begin with this
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "to"])]
    prefix: Option<String>,
    /// The keys from this one on
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// The keys before this one
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
}

impl RangeArgs {
    /// Whether nothing was said, and so all keys are meant.
    pub(crate) const fn is_all(&self) -> bool {
        self.prefix.is_none() && self.from.is_none() && self.to.is_none()
    }

    /// The range.
    pub(crate) fn range(&self, syntax: SyntaxArgs) -> Result<KeyRange, Failure> {
        if let Some(prefix) = &self.prefix {
            return Ok(prefix_range(syntax.parse("--prefix", prefix)?));
        }
        let start = self.from.as_ref().map(|from| syntax.parse("--from", from)).transpose()?.unwrap_or_default();
        let end = self.to.as_ref().map(|to| syntax.parse("--to", to)).transpose()?;
        KeyRange::new(start, end)
            .map_err(|_| Failure::usage("--to is not above --from, so there is no key between them"))
    }
}
