//! What is read differently at two versions, key by key.
//!
//! ```text
//!   from   ├ a=1      │ b=1 │ c=1      │      ┤
//!   to     ├ a=1      │ b=2 │          │ d=1  ┤
//!   told              │ b: 1 → 2 │ c: 1 → – │ d: – → 1
//! ```

use bytes::Bytes;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, DiffRequest};
use lentic_types::{KeyRange, Version};

use crate::call::{Stop, unexpected};
use crate::error::Error;
use crate::read::{self, Value};
use crate::replicas::ReadFrom;
use crate::routes::{Place, Route};
use crate::scan::{join, rest_of};
use crate::table::Table;

/// A key that is read differently at two versions: at one of them at least it has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Bytes,
    /// What is read at the first version.
    pub from: Option<Value>,
    /// What is read at the second.
    pub to: Option<Value>,
}

/// A comparison that is being described. [`start`](Self::start) begins it.
#[derive(Clone, Debug)]
#[must_use = "a comparison does nothing until it is started"]
pub struct DiffBuilder {
    table: Table,
    range: KeyRange,
    from: Version,
    to: Version,
    page_bytes: u32,
}

impl DiffBuilder {
    pub(crate) fn new(table: Table, range: KeyRange, from: Version, to: Version) -> Self {
        let page_bytes = table.core().options.page_bytes;
        Self { table, range, from, to, page_bytes }
    }

    /// Asks for about this many bytes of keys and values at a time.
    pub const fn page_bytes(mut self, bytes: u32) -> Self {
        self.page_bytes = bytes;
        self
    }

    /// Begins it. Nothing is sent before the first difference is asked for.
    #[must_use]
    pub fn start(self) -> Diff {
        let Self { table, range, from, to, page_bytes } = self;
        Diff { table, from, to, page_bytes, rest: Some(range), rows: Vec::new().into_iter() }
    }
}

/// What is read differently, one key after the other. Rollbacks, ends of values and merges are judged as by a reader at
/// each version. A key that was written again with the same value and end is left out. Where nothing was written it costs
/// little: values are read only where they differ.
#[derive(Debug)]
pub struct Diff {
    table: Table,
    from: Version,
    to: Version,
    page_bytes: u32,
    /// What is left of the range behind the rows that are here.
    rest: Option<KeyRange>,
    rows: std::vec::IntoIter<v1::DiffRow>,
}

impl Diff {
    /// The next difference, `None` after the last. After an error it ends.
    ///
    /// # Errors
    /// `VersionTooOld` if one of the versions is not kept any more; `VersionTooNew` for one from the future. A page is asked
    /// for until the deadline of an operation: begin anew from the key after the last difference, if
    /// [`Error::is_retryable`].
    pub async fn next(&mut self) -> Option<Result<Difference, Error>> {
        loop {
            if let Some(v1::DiffRow { key, from, to }) = self.rows.next() {
                let (from, to) = (from.map(Value::from_wire), to.map(Value::from_wire));
                return Some(Ok(Difference { key, from, to }));
            }
            let range = self.rest.take()?;
            match self.fetch(range).await {
                Ok((rows, rest)) => (self.rows, self.rest) = (rows.into_iter(), rest),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// One page from the front of `range`, and what is left.
    async fn fetch(&self, range: KeyRange) -> Result<(Vec<v1::DiffRow>, Option<KeyRange>), Error> {
        let request = Request::Diff(DiffRequest {
            from: self.from.0,
            to: self.to.0,
            page_bytes: self.page_bytes,
            any_replica: self.table.reads_from() == ReadFrom::Any,
            ..DiffRequest::default()
        });
        let mut asked = range.clone();
        let fit = |route: &Route, request: &mut Request| {
            let Request::Diff(diff) = request else { return true };
            let Some(part) = route.range.intersection(&range) else { return false };
            (diff.start, diff.end) = (part.start().clone(), part.end().cloned());
            asked = part;
            true
        };
        let (table, place) = (&self.table, Place::Key(range.start().clone()));
        let answer = read::shard(table.core(), table.entry(), place, request, table.deadline(), fit).await;
        let page = match answer {
            Ok(Response::Diff(page)) => page,
            Ok(_) | Err(Stop::Split) => return Err(unexpected()),
            Err(Stop::Failed(error)) => return Err(error),
        };
        let rest = match page.rest {
            Some(rest) => Some(rest_of(&asked, rest, page.rows.is_empty())?),
            None => None,
        };
        Ok((page.rows, join(&range, &asked, rest, false)))
    }
}
