//! Scans: the rows of a range, page by page, all at one version.
//!
//! ```text
//!   range      ├──────────────────────────────┤
//!   shards     │     s1      │    s2      │   s3 …
//!   pages      ├──p1──┤├─p2──┤├──p3──┤├p4──┤├─p5─┤      backward: from the right
//! ```
//!
//! While the caller takes the rows of one page, the next is on its way; no more than these two are held. A page that
//! fails is asked for again, wherever its shard is by then, at the version of the first.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, ScanRequest};
use lentic_types::{ErrorKind, KeyRange, Version};

use crate::call::{Stop, unexpected};
use crate::error::Error;
use crate::read;
use crate::replicas::ReadFrom;
use crate::routes::{Place, Route};
use crate::table::Table;

/// The next page is looked after each time the caller has taken this many rows.
const ROWS_PER_GLANCE: usize = 64;

/// A live key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// Its value. Key and value share memory with the rows of their page; copy them to keep them for long.
    pub value: Bytes,
    /// The version at which the value was last changed.
    pub version: Version,
    /// When the value ends, in milliseconds since 1970; `None`: never.
    pub expires_unix_ms: Option<u64>,
}

impl Row {
    /// The value as an integer, if it has 8 bytes.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.value[..].try_into().ok().map(i64::from_be_bytes)
    }
}

/// A scan that is being described. [`start`](Self::start) begins it.
#[derive(Clone, Debug)]
#[must_use = "a scan does nothing until it is started"]
pub struct ScanBuilder {
    table: Table,
    range: KeyRange,
    is_backward: bool,
    limit: Option<u64>,
    at: Option<Version>,
    page_bytes: u32,
}

impl ScanBuilder {
    pub(crate) fn new(table: Table, range: KeyRange) -> Self {
        let page_bytes = table.core().options.page_bytes;
        Self { table, range, is_backward: false, limit: None, at: None, page_bytes }
    }

    /// Gives at most `rows` rows.
    pub const fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Goes from the last key to the first.
    pub const fn reverse(mut self) -> Self {
        self.is_backward = true;
        self
    }

    /// Reads at `version` instead of a fresh one.
    pub const fn at(mut self, version: Version) -> Self {
        self.at = Some(version);
        self
    }

    /// Asks for about this many bytes of rows at a time.
    pub const fn page_bytes(mut self, bytes: u32) -> Self {
        self.page_bytes = bytes;
        self
    }

    /// Begins the scan. Nothing is sent before the first row is asked for.
    #[must_use]
    pub fn start(self) -> Scan {
        let Self { table, range, is_backward, limit, at, page_bytes } = self;
        let rest = (limit != Some(0)).then_some(range);
        let left = limit.unwrap_or(u64::MAX);
        let rows = Vec::new().into_iter();
        Scan { table, is_backward, page_bytes, at, left, rest, rows, page: Page::None, given: 0 }
    }
}

/// The rows of a scan: a [`Stream`], or one row after the other by [`next`](Self::next). After an error it ends.
pub struct Scan {
    table: Table,
    is_backward: bool,
    page_bytes: u32,
    at: Option<Version>,
    /// How many rows are wanted of the pages that are not here yet.
    left: u64,
    /// What is left of the range after the rows that are here.
    rest: Option<KeyRange>,
    rows: std::vec::IntoIter<Row>,
    page: Page,
    given: usize,
}

type Fetched = Result<(Vec<Row>, Option<KeyRange>, Version), Error>;

/// The page after the rows that are here.
enum Page {
    None,
    Coming(Pin<Box<dyn Future<Output = Fetched> + Send>>),
    Here(Fetched),
}

impl Scan {
    /// The next row, `None` after the last.
    ///
    /// # Errors
    /// The page with the row could not be read within the deadline of an operation: begin anew at the same version from
    /// the key after the last row, if [`Error::is_retryable`].
    pub async fn next(&mut self) -> Option<Result<Row, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The version that is read at: as asked for, else known with the first page.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.at
    }

    /// Asks for the next page, if there is one and nobody has.
    fn begin_page(&mut self) {
        if let (Page::None, Some(range)) = (&self.page, &self.rest) {
            let fetch = fetch(self.table.clone(), range.clone(), self.is_backward, self.at, self.left, self.page_bytes);
            self.page = Page::Coming(Box::pin(fetch));
        }
    }

    fn poll_page(&mut self, context: &mut Context<'_>) {
        if let Page::Coming(coming) = &mut self.page
            && let Poll::Ready(fetched) = coming.as_mut().poll(context)
        {
            self.page = Page::Here(fetched);
        }
    }

    fn end(&mut self) {
        self.rest = None;
        self.page = Page::None;
    }
}

impl Stream for Scan {
    type Item = Result<Row, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let scan = &mut *self;
        let mut is_fresh = false;
        loop {
            if let Some(row) = scan.rows.next() {
                if scan.given.is_multiple_of(ROWS_PER_GLANCE) {
                    scan.begin_page();
                    scan.poll_page(context);
                }
                scan.given += 1;
                return Poll::Ready(Some(Ok(row)));
            }
            if scan.rest.is_none() {
                return Poll::Ready(None);
            }
            is_fresh |= matches!(scan.page, Page::None | Page::Coming(_));
            scan.begin_page();
            scan.poll_page(context);
            match std::mem::replace(&mut scan.page, Page::None) {
                Page::Here(Ok((rows, rest, at))) => {
                    let taken = u64::try_from(rows.len()).unwrap_or(u64::MAX);
                    scan.left = scan.left.saturating_sub(taken);
                    scan.rest = rest.filter(|_| scan.left > 0);
                    scan.at = (!lentic_types::mutant!("scan-not-pinned")).then_some(at);
                    scan.rows = rows.into_iter();
                    scan.given = 0;
                }
                // Its time ran while the caller was busy with other rows.
                Page::Here(Err(error)) if error.is_retryable() && !is_fresh => {}
                Page::Here(Err(error)) => {
                    scan.end();
                    return Poll::Ready(Some(Err(error)));
                }
                coming => {
                    scan.page = coming;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// One page from the front of `range`, or from its back: its rows, what is left, and the version.
async fn fetch(
    table: Table,
    range: KeyRange,
    is_backward: bool,
    at: Option<Version>,
    limit: u64,
    page_bytes: u32,
) -> Fetched {
    let place = if is_backward { Place::Before(range.end().cloned()) } else { Place::Key(range.start().clone()) };
    let request = Request::Scan(ScanRequest {
        at: at.map(|at| at.0),
        backward: is_backward,
        limit: if limit == u64::MAX { 0 } else { limit },
        page_bytes,
        any_replica: at.is_some() && table.reads_from() == ReadFrom::Any,
        ..ScanRequest::default()
    });
    let mut asked = range.clone();
    let fit = |route: &Route, request: &mut Request| {
        let Request::Scan(scan) = request else { return true };
        let Some(part) = route.range.intersection(&range) else { return false };
        (scan.start, scan.end) = (part.start().clone(), part.end().cloned());
        asked = part;
        true
    };
    let answer = read::shard(table.core(), table.entry(), place, request, table.deadline(), fit).await;
    let page = match answer {
        Ok(Response::Scan(page)) => page,
        Ok(_) | Err(Stop::Split) => return Err(unexpected()),
        Err(Stop::Failed(error)) => return Err(error),
    };
    if at.is_none() {
        table.core().newest.hear(page.at);
    }
    let rest = match page.rest {
        Some(rest) => Some(rest_of(&asked, rest, page.rows.is_empty())?),
        None => None,
    };
    let rows = page.rows.into_iter().map(row).collect();
    Ok((rows, join(&range, &asked, rest, is_backward), at.unwrap_or(Version(page.at))))
}

/// What a node says is left of `asked`: part of it, and less than all.
pub(crate) fn rest_of(asked: &KeyRange, rest: v1::Rest, is_without_rows: bool) -> Result<KeyRange, Error> {
    let rest = KeyRange::new(rest.start, rest.end).ok().filter(|rest| asked.covers(rest));
    rest.filter(|rest| !is_without_rows || rest != asked).ok_or_else(|| {
        Error::new(ErrorKind::Unknown, format!("a page of {asked} says that something else is left of it; report this"))
    })
}

/// What is left of `range` when `rest` is left of `asked`, which lies at its front or, backward, at its back.
pub(crate) fn join(range: &KeyRange, asked: &KeyRange, rest: Option<KeyRange>, is_backward: bool) -> Option<KeyRange> {
    if is_backward {
        let end = rest.map_or_else(|| Some(asked.start().clone()), |rest| rest.end().cloned());
        KeyRange::new(range.start().clone(), end).ok()
    } else {
        let start = rest.map_or_else(|| asked.end().cloned(), |rest| Some(rest.start().clone()))?;
        KeyRange::new(start, range.end().cloned()).ok()
    }
}

fn row(row: v1::Row) -> Row {
    let value = row.value.unwrap_or_default();
    Row { key: row.key, value: value.value, version: Version(value.version), expires_unix_ms: value.expires_unix_ms }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut scan = f.debug_struct("Scan");
        scan.field("table", &self.table).field("at", &self.at).field("rest", &self.rest).finish_non_exhaustive()
    }
}
