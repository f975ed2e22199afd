//! A client's transaction, attempt by attempt.

use std::sync::Arc;
use std::time::Duration;

use lentic_engine::Portable;
use lentic_machine::shard::{Action, Anchor, RequestKey, Take, Token, TxnRef};
use lentic_machine::txn::Verdict;
use lentic_machine::{Outcome, Refusal};
use lentic_proto::v1::{self, Failure};
use lentic_runtime::{random, spawn};
use lentic_types::limits::{TXN_KEYS_MAX, TXN_MS_MAX, TXN_PARTS_MAX, TXN_SHARDS_MAX};
use lentic_types::{TableId, TxnId, Version};
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::drive::{Attempt, Came};
use super::shares::{self, Part, Share};
use super::state::add;
use super::steps::Step;
use crate::gateway::Gateway;
use crate::{convert, failure};

/// How long after it is begun an attempt may still be prepared: less than shards allow, for clocks differ.
const PREPARE_WITHIN_MS: u64 = TXN_MS_MAX - 1_000;
/// How old the tick may be that names an attempt.
const TICK_AGE: Duration = Duration::from_millis(500);
/// How long an attempt waits for its prepares; a lock that stands longer is taken for that of a dead coordinator.
const ATTEMPT: Duration = Duration::from_millis(PREPARE_WITHIN_MS - 500);
/// What is left of the caller's time for giving up: a round at the anchor.
const LAST_ROUND: Duration = Duration::from_millis(200);
/// The pause before another attempt, at first and at most.
const PAUSE_MS_MIN: u64 = 1;
const PAUSE_MS_MAX: u64 = 64;
/// How long another attempt waits for the last one to let go of what it holds: it would give way to that.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);

impl<S: Portable> Gateway<S> {
    /// Commits a transaction.
    ///
    /// # Errors
    /// Nothing of it was done; or, if the failure is of kind unknown, all of it may have been, and a copy with the same key
    /// will tell.
    pub(crate) async fn transact(
        &self,
        request: v1::TransactRequest,
        deadline: Instant,
    ) -> Result<v1::TransactResponse, Failure> {
        if request.encoded_len() > self.options.limits.request_bytes_max {
            return Err(failure::invalid("a transaction has more bytes than limits.request_bytes_max; split it"));
        }
        if request.parts.len() > TXN_PARTS_MAX {
            return Err(failure::invalid("a transaction has at most 1,000 parts; put what one table gets into one"));
        }
        let (key, named) = convert::transaction(request)?;
        match named.iter().map(|(_, write)| shares::keys(write)).sum() {
            0_usize => return Err(failure::invalid("the transaction is empty; add an operation or a condition")),
            keys if keys > TXN_KEYS_MAX => {
                return Err(failure::invalid("a transaction has at most 100,000 keys and ranges; split it"));
            }
            _ => {}
        }
        let mut parts: Vec<Part> = Vec::with_capacity(named.len());
        for (table, write) in named {
            self.know(&table, deadline).await?;
            let catalog = self.meta.catalog();
            let known = catalog.table_named(&table);
            let known = known.ok_or_else(|| failure::not_found(format!("there is no table {table}")))?;
            parts.push((known.table, write));
        }
        let version = Transaction { gateway: self, key, work: Work::Parts(parts), deadline }.commit().await?;
        Ok(v1::TransactResponse { version: version.0 })
    }

    /// Takes a range of a table, over as many shards as it has. Returns the version at which it did: the token.
    ///
    /// # Errors
    /// As of [`Self::transact`].
    pub(crate) async fn take_range(
        &self,
        key: Option<RequestKey>,
        table: TableId,
        take: Take,
        deadline: Instant,
    ) -> Result<Version, Failure> {
        Transaction { gateway: self, key, work: Work::Take(table, take), deadline }.commit().await
    }
}

struct Transaction<'a, S: Portable> {
    gateway: &'a Gateway<S>,
    key: Option<RequestKey>,
    work: Work,
    deadline: Instant,
}

/// What a transaction does.
enum Work {
    Parts(Vec<Part>),
    Take(TableId, Take),
}

impl<S: Portable> Transaction<'_, S> {
    async fn commit(&self) -> Result<Version, Failure> {
        let (mut begun, mut rounds, mut pause_ms) = (None, 0, PAUSE_MS_MIN);
        let mut news = self.gateway.meta.catalog.subscribe();
        loop {
            let catalog = Arc::clone(&news.borrow_and_update());
            let shares = match &self.work {
                Work::Parts(parts) => shares::cut(&catalog, parts)?,
                Work::Take(table, take) => shares::cut_take(&catalog, *table, take)?,
            };
            if shares.len() > TXN_SHARDS_MAX {
                return Err(failure::invalid("a transaction commits on at most 1,000 shards; split it"));
            }
            if let [share] = shares.as_slice()
                && let Some(action) = share.single()
            {
                let share = shares.into_iter().next().expect("there is one");
                match self.act(share, action).await {
                    Err(failure) if failure.kind() == v1::ErrorKind::WrongEpoch && Instant::now() < self.deadline => {
                        // The route came from the catalog here, or the other node's is the old one.
                        let _ = timeout(Duration::from_millis(PAUSE_MS_MAX), news.changed()).await;
                        continue;
                    }
                    result => return result,
                }
            }
            let came = self.attempt(&mut begun, shares).await?;
            rounds += 1;
            match came {
                Attempted::Committed(version) => {
                    add(&self.gateway.txns.counts.committed, 1);
                    add(&self.gateway.txns.counts.rounds, rounds);
                    return Ok(version);
                }
                Attempted::Refused(failure) => {
                    add(&self.gateway.txns.counts.refused, 1);
                    return Err(failure);
                }
                // Giving up takes a round, too.
                Attempted::Again(failure, lets_go) => {
                    add(&self.gateway.txns.counts.attempts_aborted, 1);
                    rounds += 1;
                    let pause = Duration::from_millis(pause_ms + random() % (pause_ms + 1));
                    if Instant::now() + pause + LAST_ROUND >= self.deadline {
                        return Err(failure);
                    }
                    // Where that takes long, the next one gets no further anyway.
                    let _ = timeout_at(self.deadline.min(Instant::now() + LETS_GO_WITHIN), lets_go).await;
                    sleep(pause).await;
                    pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
                }
            }
        }
    }

    /// A transaction of one shard is one entry in its log.
    async fn act(&self, mut share: Share, action: Action) -> Result<Version, Failure> {
        let key = share.first_key().ok_or_else(|| failure::internal("a share has no key"))?;
        share.in_order_of_single();
        let step = Step { key: self.key, action };
        match self.gateway.ask_cut(&share.place, &key, &step, self.deadline).await? {
            // A copy may be answered as one that was cut otherwise.
            Outcome::Committed { version } | Outcome::Taken { token: Token(version) } => Ok(version),
            Outcome::Refused(refusal) => Err(of_refusal(&share, &refusal)),
            outcome => Err(failure::internal(format!("a write was answered by {outcome:?}"))),
        }
    }

    async fn attempt(&self, begun: &mut Option<Version>, shares: Vec<Share>) -> Result<Attempted, Failure> {
        // Version time may have leapt, and then a prepare comes too late by its stamp: the next attempt asks anew.
        let age = if begun.is_none() { TICK_AGE } else { Duration::ZERO };
        let stopping = |_| failure::unknown("the node is stopping");
        let now = self.gateway.shards.shared.ticks.recent(age).await.map_err(stopping)?;
        let until = now.plus_ms(PREPARE_WITHIN_MS).ok_or_else(|| failure::internal("version time has ended"))?;
        let begun = *begun.get_or_insert(now);
        let id: TxnId = self.gateway.txns.name(begun, self.gateway.meta.node);
        let key = shares[0].first_key().ok_or_else(|| failure::internal("a share has no key"))?;
        let anchor = Anchor { table: shares[0].place.table, key };
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let attempt = Attempt {
            txn: TxnRef { id, anchor, until },
            key: self.key,
            shares: Arc::new(shares),
            until: now + ATTEMPT.min(left - LAST_ROUND.min(left / 4)),
        };
        let shares = Arc::clone(&attempt.shares);
        let (answer, came) = oneshot::channel();
        let gateway = self.gateway.clone();
        // It goes on when its client is gone: what it has locked is to be let go of.
        let ends = spawn(attempt.run(gateway, answer));
        let lost = || failure::unknown("the end of the transaction was not heard of; send it again with the same key");
        Ok(match came.await.map_err(|_| lost())? {
            Came::To(Verdict::Committed(version)) => Attempted::Committed(version),
            Came::To(Verdict::Refused { participant, refusal }) => {
                Attempted::Refused(of_refusal(&shares[participant], &refusal))
            }
            Came::To(Verdict::Declined(refusal)) => Attempted::Refused(failure::of_refusal(&refusal)),
            Came::To(Verdict::Forgotten) => Attempted::Refused(failure::of_refusal(&Refusal::AnswerForgotten)),
            Came::To(Verdict::Again) => {
                let words = "other transactions kept the keys until the deadline; nothing was done";
                Attempted::Again(failure::throttled(words, 20), ends)
            }
            Came::Failed(failure) if failure.retry_rule() == lentic_types::Retry::Never => Attempted::Refused(failure),
            // The attempt was aborted, whatever became of its messages: nothing was done.
            Came::Failed(failure) => {
                Attempted::Again(failure::throttled(format!("a shard did not answer: {}", failure.message), 20), ends)
            }
        })
    }
}

/// What an attempt has come to, for the transaction.
enum Attempted {
    Committed(Version),
    Refused(Failure),
    /// Nothing was done, and what ends when nothing is held any more.
    Again(Failure, JoinHandle<()>),
}

fn of_refusal(share: &Share, refusal: &Refusal) -> Failure {
    failure::of_refusal(&share.placed_refusal(refusal))
}
