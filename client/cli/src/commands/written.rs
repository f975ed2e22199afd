//! What a write answers: the version at which it took effect.

use lentic_client::{Client, Version};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Answer, version_text};
use crate::text::{Span, unix_ms_of};

/// The commit version of a write, or the newest of several.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Written {
    version: String,
}

impl Written {
    pub(crate) fn at(version: Version) -> Self {
        Self { version: version_text(version) }
    }

    fn shown(&self) -> String {
        format!("v{}", self.version)
    }
}

impl Answer for Written {
    fn human(&self) -> String {
        self.shown() + "\n"
    }

    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.shown()]]
    }
}

/// When a value that lives for `ttl` from now on ends, in milliseconds since 1970. The clock is the cluster's, for ends
/// are judged by it.
pub(crate) async fn end_of(ttl: Option<Span>, client: &Client) -> Result<Option<u64>, Failure> {
    let Some(ttl) = ttl else { return Ok(None) };
    end_at(ttl, client.now().await?).map(Some)
}

/// The same when it is `now`.
pub(crate) fn end_at(ttl: Span, now: Version) -> Result<u64, Failure> {
    let end = unix_ms_of(now).checked_add(ttl.ms());
    end.ok_or_else(|| Failure::usage(format!("--ttl {ttl} is too long; leave it out to keep the value for good")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::shapes_of;

    #[test]
    fn a_write_tells_its_version() {
        assert_eq!(shapes_of(&Written::at(Version(7))), ["v7\n", "v7\n", "{\"version\":\"7\"}\n"]);
    }
}
