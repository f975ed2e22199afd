//! A transaction whose reads and writes are known beforehand, over any tables and shards.

use std::sync::Arc;

use bytes::Bytes;
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, PipeRequest, TransactRequest};
use lentic_types::Version;
use tokio::time::Instant;

use crate::batch::{WriteBatch, touched};
use crate::call::{ShardCall, Stop, unexpected};
use crate::core::Core;
use crate::error::Error;
use crate::progress::{Effect, Progress};
use crate::routes::Place;

/// Conditions and operations in any tables, which take effect together or not at all.
///
/// All conditions are judged before all operations; of the operations on a key a later one sees the earlier ones.
///
/// ```
/// use lentic_client::{MergeOperator, Transaction, WriteBatch};
/// let minus = (-5_i64).to_be_bytes().to_vec();
/// let plus = 5_i64.to_be_bytes().to_vec();
/// let transfer = Transaction::new()
///     .with("accounts", WriteBatch::new().merge("ann", MergeOperator::AddI64, minus).merge("bob", MergeOperator::AddI64, plus))
///     .with("transfers", WriteBatch::new().if_absent("t-17").put("t-17", "ann to bob: 5"));
/// assert_eq!(transfer.parts(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    parts: Vec<v1::TransactPart>,
}

impl Transaction {
    /// A transaction that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what is to be done in a table. A batch has one token, so ranges of several owners take several batches.
    #[must_use]
    pub fn with(mut self, table: &str, batch: WriteBatch) -> Self {
        let WriteBatch { fence, conditions, ranges, operations } = batch;
        self.parts.push(v1::TransactPart { table: table.to_owned(), fence, conditions, ranges, operations });
        self
    }

    /// How many batches it has.
    #[must_use]
    pub const fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The table and the key where it is decided: the first there is.
    fn anchor(&self) -> Option<(&str, Bytes)> {
        self.parts.iter().find_map(|part| {
            let condition = part.conditions.first().map(|condition| condition.key.clone());
            let range = || part.ranges.first().map(|range| range.start.clone());
            let operation = || part.operations.first().map(|operation| touched(operation).first().clone());
            Some((&*part.table, condition.or_else(range).or_else(operation)?))
        })
    }
}

/// Commits a transaction.
pub(crate) async fn commit(core: &Arc<Core>, transaction: Transaction, deadline: Instant) -> Result<Version, Error> {
    let Some((table, key)) = transaction.anchor() else {
        return Err(Error::invalid("the transaction is empty; add a condition or an operation"));
    };
    // Sent all the same, it would leave a doubt.
    if Instant::now() >= deadline {
        return Err(Error::unavailable("the transaction's deadline has passed; nothing was done"));
    }
    // Its node coordinates, and keeps the answer: so a copy of the request is best sent there, too.
    let (entry, place) = (core.table(table), Place::Key(key));
    let mut progress = Progress::until(Effect::Writes, deadline);
    let request = Request::Transact(TransactRequest { key: None, parts: transaction.parts });
    let request = PipeRequest { request: Some(request), ..PipeRequest::default() };
    let mut call = ShardCall { core, entry: &entry, place, request };
    let send = async {
        let ticket = core.sessions.ticket(core, &mut progress).await?;
        if let Some(Request::Transact(transact)) = &mut call.request.request {
            transact.key = Some(ticket.key);
        }
        // The ticket is held until the answer is here: it is what keeps the key from being acknowledged.
        let answer = call.run(&mut progress, |_, _| true).await;
        drop(ticket);
        match answer {
            Ok((Response::Transact(done), _)) => {
                core.newest.hear(done.version);
                Ok(Version(done.version))
            }
            Ok(_) | Err(Stop::Split) => Err(unexpected()),
            Err(Stop::Failed(error)) => Err(error),
        }
    };
    match tokio::time::timeout_at(deadline, send).await {
        Ok(result) => result,
        Err(_) => Err(progress.out_of_time()),
    }
}

/// Sends a transaction twice with the same key: what a lost answer makes of it.
#[cfg(feature = "testing")]
pub(crate) async fn twice(core: &Arc<Core>, transaction: Transaction) -> [Result<Version, Error>; 2] {
    let (table, key) = transaction.anchor().expect("it has a key");
    let (entry, place) = (core.table(table), Place::Key(key));
    let mut progress = Progress::new(Effect::Writes, &core.options);
    let ticket = core.sessions.ticket(core, &mut progress).await.expect("the cluster issues client ids");
    let request = Request::Transact(TransactRequest { key: Some(ticket.key), parts: transaction.parts });
    let request = PipeRequest { request: Some(request), ..PipeRequest::default() };
    let mut call = ShardCall { core, entry: &entry, place, request };
    let mut results = Vec::new();
    for _ in 0..2 {
        results.push(match call.run(&mut progress, |_, _| true).await {
            Ok((Response::Transact(done), _)) => Ok(Version(done.version)),
            Ok(_) | Err(Stop::Split) => Err(unexpected()),
            Err(Stop::Failed(error)) => Err(error),
        });
    }
    results.try_into().expect("two copies have two answers")
}
