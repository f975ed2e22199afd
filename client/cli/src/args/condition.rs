//! Conditions of a write.

use bytes::Bytes;
use clap::Args;
use lentic_client::{Version, WriteBatch};

use super::keys::SyntaxArgs;
use crate::failure::Failure;

/// What must hold for a write to take effect.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct ConditionArgs {
    /// Only if the key has no value
    #[arg(long)]
    if_absent: bool,
    /// Only if the key has a value
    #[arg(long)]
    if_exists: bool,
    /// Only if the key's value was last changed at this version
    #[arg(long, value_name = "VERSION", value_parser = version)]
    if_version: Option<Version>,
    /// Only if the key has this value
    #[arg(long, value_name = "VALUE")]
    if_value: Option<String>,
}

impl ConditionArgs {
    /// Whether there is a condition.
    pub(crate) const fn is_some(&self) -> bool {
        self.if_absent || self.if_exists || self.if_version.is_some() || self.if_value.is_some()
    }

    /// The batch with the condition on `key`.
    pub(crate) fn require(&self, batch: WriteBatch, key: &Bytes, syntax: SyntaxArgs) -> Result<WriteBatch, Failure> {
        let key = key.clone();
        Ok(match (self.if_absent, self.if_exists, self.if_version, &self.if_value) {
            (true, ..) => batch.if_absent(key),
            (_, true, ..) => batch.if_exists(key),
            (_, _, Some(version), _) => batch.if_version(key, version),
            (.., Some(value)) => batch.if_value(key, syntax.parse("--if-value", value)?),
            (false, false, None, None) => batch,
        })
    }
}

/// A version as it is shown: `v123`, or the number alone.
pub(crate) fn version(text: &str) -> Result<Version, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    let digits = number.bytes().all(|byte| byte.is_ascii_digit()).then_some(number);
    let version = digits.and_then(|digits| digits.parse().ok()).map(Version);
    version.ok_or_else(|| "expected a version, as in v8912896".to_owned())
}
