//! Read points: rounds in which a quorum confirms that this node leads, each shared by all who came before it began.
//!
//! ```text
//!   leader    how far must be applied ──► whom is your vote with? ──► a quorum, this node in it: with me, in this term
//!   voters                                └► of this moment, asked for by this round ┘
//! ```
//!
//! The answers are to questions of the round (Ongaro's thesis, section 6.4). openraft 0.10.0-alpha.37 counts
//! acknowledgements instead by when what they acknowledge was sent, and takes the one of an entry for one of what was sent
//! after it without entries (`InflightAppendQueue::drain_acked`): one that a link delivers seconds late would confirm a
//! leader that has been replaced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lentic_net::Class;
use lentic_proto::internal as wire;
use lentic_runtime::hesitate;
use lentic_types::{GroupId, Index, NodeId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use wire::message::Body;

use crate::error::ReadError;
use crate::peers::peer::Peers;
use crate::stats::{Counters, add};
use crate::types::{Raft, term_of};
use crate::vouch;

/// Reads that wait for their round to begin; more wait with their callers.
const WAITING_MAX: usize = 1_024;

/// A point from which a read sees everything that was acknowledged before the read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadIndex {
    /// The term in which this node was confirmed to lead.
    pub term: u64,
    /// Everything up to here is applied here.
    pub index: Index,
}

type Ask = oneshot::Sender<Result<ReadIndex, ReadError>>;

/// Where reads ask for their point. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Reads(mpsc::Sender<Ask>);

impl Reads {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, waiting) = mpsc::channel(WAITING_MAX);
        (Self(asks), waiting)
    }

    /// A point that is not applied yet, perhaps: from a round that begins after this call.
    pub(crate) async fn confirm(&self) -> Result<ReadIndex, ReadError> {
        let stopped = || ReadError::Stopped("it is removed".to_owned());
        let (ask, answer) = oneshot::channel();
        self.0.send(ask).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Whom a round asks.
pub(crate) struct Rounds {
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<Peers>,
    pub(crate) group: GroupId,
    /// How long a quorum may take.
    pub(crate) within: Duration,
}

/// This node leads, as far as it knows: its own vote is with itself.
struct Leading {
    /// Everything that was acknowledged by now is at or below its index, if a quorum says the same.
    point: ReadIndex,
    /// Who votes; two sets, while that changes.
    sets: Vec<BTreeSet<u64>>,
}

/// What a voter answers.
enum Word {
    /// Its vote is with this node.
    For(u64),
    /// Its vote is with a later term.
    Later,
    /// It cannot be asked, or has not heard of this term.
    None,
}

impl Rounds {
    /// Runs one round after the other while somebody asks.
    pub(crate) async fn run(self, mut asks: mpsc::Receiver<Ask>, counters: Arc<Counters>) {
        let mut round = Vec::new();
        // Whoever asks while a round runs is in the next.
        while asks.recv_many(&mut round, WAITING_MAX).await > 0 {
            add(&counters.read_rounds, 1);
            add(&counters.reads, round.len());
            let result = self.round().await;
            round.drain(..).for_each(|ask| drop(ask.send(result.clone())));
        }
    }

    async fn round(&self) -> Result<ReadIndex, ReadError> {
        let Leading { point, sets } = self.leading().await?;
        hesitate().await;
        let until = Instant::now() + self.within;
        let me = self.peers.node.0;
        let others: BTreeSet<u64> = sets.iter().flatten().copied().filter(|voter| *voter != me).collect();
        let mut words: FuturesUnordered<_> = others.into_iter().map(|voter| self.ask(voter, point.term)).collect();
        let mut agree = BTreeSet::from([me]);
        while !vouch::is_quorum(&sets, &agree) {
            match timeout_at(until, words.next()).await {
                Ok(Some(Word::For(voter))) => drop(agree.insert(voter)),
                Ok(Some(Word::None)) => {}
                // This node hears of it soon, too.
                Ok(Some(Word::Later) | None) | Err(_) => return Err(ReadError::NotConfirmed),
            }
        }
        Ok(point)
    }

    /// Whether this node leads, and who can say so.
    async fn leading(&self) -> Result<Leading, ReadError> {
        let me = self.peers.node;
        let leading = self.raft.with_raft_state(move |state| {
            let vote = state.vote_ref();
            let leader = Some(NodeId(vote.leader_id.voted_for)).filter(|_| vote.committed);
            if leader != Some(me) {
                return Err(ReadError::NotLeader { leader });
            }
            let term = vote.leader_id.term;
            // Before an entry of its own term is committed, a leader does not know what was (Raft, section 8).
            let committed = state.local_committed().filter(|id| term_of(id) == term);
            let index = Index(committed.or(state.log_ids.last()).map_or(0, |id| id.index));
            let sets = state.membership_state.effective().membership().get_joint_config().clone();
            Ok(Leading { point: ReadIndex { term, index }, sets })
        });
        leading.await.unwrap_or_else(|fatal| Err(ReadError::Stopped(fatal.to_string())))
    }

    async fn ask(&self, voter: u64, term: u64) -> Word {
        let question = Body::Confirm(wire::Confirm {});
        match self.peers.call(NodeId(voter), Class::Control, self.group.0, question).await {
            Ok(Body::ConfirmReply(vote)) if vote.term > term => Word::Later,
            Ok(Body::ConfirmReply(vote)) if vote.term == term && vote.node == self.peers.node.0 => Word::For(voter),
            _ => Word::None,
        }
    }
}
