//! Owners of ranges: who may write there, and where a range goes back to.

use lentic_engine::Portable;
use lentic_machine::Outcome;
use lentic_machine::meta::{MetaCommand, MetaOutcome, Pin, PinKind, PinSpan};
use lentic_machine::shard::{Action, Back, Release, Take, Token};
use lentic_proto::v1::pipe_request::Request;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure, back::To};
use lentic_types::limits::BACK_RANGES_MAX;
use lentic_types::{ErrorKind, KeyRange, PinId, TableId, Version};
use tokio::time::Instant;

use super::Gateway;
use super::checkpoint::Checkpoint;
use super::history::ATTEMPTS_MAX;
use super::last_checkpoint;
use crate::txn::Step;
use crate::{convert, failure};

/// How long a checkpoint is kept if its job does not say: a day.
const CHECKPOINT_LEASE_MS: u64 = 24 * 60 * 60 * 1000;
/// How many checkpoints of a range are kept: one may be under way, and one may turn out to be unusable.
const CHECKPOINTS_KEPT: usize = 3;

impl<S: Portable> Gateway<S> {
    /// Takes a range, in all of its shards or nowhere.
    pub(crate) async fn take(&self, request: v1::TakeRequest, deadline: Instant) -> Result<v1::TakeResponse, Failure> {
        let table = self.table_id(&request.table, deadline).await?;
        let key = request.key.as_ref().map(convert::request_key).transpose()?;
        if request.back.len() > BACK_RANGES_MAX {
            return Err(failure::invalid("more than 1,024 ranges go back at once; restore them in groups"));
        }
        let back = request.back.into_iter().map(|back| self.back(table, back)).collect::<Result<_, _>>()?;
        let range = convert::range(request.start, request.end)?;
        let take = Take { range, owner: request.owner.into(), force: request.force, back };
        // As a whole: a shard sees its own part alone.
        let whole = lentic_machine::Request { version: Version::MAX, key, action: Action::Take(take.clone()) };
        whole.check(&self.options.limits).map_err(|refusal| failure::of_refusal(&refusal))?;
        let fence = self.take_range(key, table, take, deadline).await?;
        Ok(v1::TakeResponse { fence: fence.0 })
    }

    fn back(&self, table: TableId, back: v1::Back) -> Result<Back, Failure> {
        let to = match back.to {
            Some(To::Version(version)) => Version(version),
            Some(To::Checkpoint(token)) => {
                let checkpoint = Checkpoint::decode(&token).map_err(failure::invalid)?;
                if checkpoint.cluster != self.meta.catalog().cluster {
                    let words = "the checkpoint is of another cluster; restore it there, or check the address";
                    return Err(failure::invalid(words));
                }
                if checkpoint.table != table {
                    let words = "the checkpoint is of another table, or of one of this name that was dropped since; check the name";
                    return Err(failure::invalid(words));
                }
                checkpoint.version
            }
            None => return Err(failure::invalid("a range that goes back names a checkpoint or a version")),
        };
        Ok(Back { range: convert::range(back.start, back.end)?, to })
    }

    /// Gives up what a fence owns of a range, in one shard after the other.
    pub(crate) async fn release(
        &self,
        request: v1::ReleaseRequest,
        deadline: Instant,
    ) -> Result<v1::ReleaseResponse, Failure> {
        let table = self.table_id(&request.table, deadline).await?;
        let mut rest = Some(convert::range(request.start, request.end)?);
        let token = Token(Version(request.fence));
        while let Some(range) = rest {
            let catalog = self.meta.catalog();
            let place = catalog.shard_for(table, range.start()).ok_or_else(gone)?;
            let part = range.intersection(&place.range).ok_or_else(gone)?;
            let step = Step { key: None, action: Action::Release(Release { range: part, token }) };
            match self.ask_step(table, range.start(), &step, deadline).await? {
                // What it does not own here it has given up before, or it was replaced.
                Outcome::Released | Outcome::Refused(lentic_machine::Refusal::Fenced { .. }) => {}
                Outcome::Refused(refusal) => return Err(failure::of_refusal(&refusal)),
                outcome => return Err(failure::internal(format!("a release was answered by {outcome:?}"))),
            }
            rest = range.without(&place.range).into_iter().next_back().filter(|rest| rest.start() > range.start());
        }
        Ok(v1::ReleaseResponse {})
    }

    /// Names a version of an owned range, and keeps it; this node leads the meta group.
    pub(crate) async fn checkpoint(&self, request: v1::CheckpointRequest) -> Result<v1::CheckpointResponse, Failure> {
        self.meta.confirm().await?;
        let deadline = Instant::now() + self.options.deadline;
        let table = self.table_id(&request.table, deadline).await?;
        let range = convert::range(request.start, request.end)?;
        let nonce = <[u8; 16]>::try_from(&request.nonce[..]).map_err(|_| failure::invalid("a nonce has 16 bytes"))?;
        let lease_ms = if request.lease_ms == 0 { CHECKPOINT_LEASE_MS } else { request.lease_ms };
        let spans = vec![PinSpan { table, range: range.clone() }];
        // What the owner was told is written lies below the version: its tick is fetched after it asked.
        // And the fence is looked at after that: one that owns the range then has owned it at the version.
        let mut attempts = 0;
        let (owner, pin, version) = loop {
            attempts += 1;
            let version = Version(self.now().await?.version);
            let owner = self.check_owner(&request.table, &range, request.fence, deadline).await?;
            let pin = Pin {
                pin: PinId(0),
                kind: PinKind::Checkpoint,
                name: last_checkpoint::pin_name(request.number),
                owner: owner.clone(),
                nonce,
                spans: spans.clone(),
                version,
                created: version,
                expires: None,
            };
            match self.meta.propose(&MetaCommand::CreatePin { pin, lease_ms }).await {
                Ok(MetaOutcome::Pinned { pin, version }) => break (owner, pin, version),
                Ok(_) => return Err(failure::internal("the meta group answered something else")),
                // The floor has overtaken the version; nothing was done.
                Err(failure) if failure.error_kind() == ErrorKind::VersionTooOld && attempts < ATTEMPTS_MAX => {}
                Err(failure) => return Err(failure),
            }
        };
        self.let_go_of_older(&owner, &spans).await?;
        let cluster = self.meta.catalog().cluster;
        let checkpoint = Checkpoint { cluster, table, version, fence: Version(request.fence), number: request.number };
        Ok(v1::CheckpointResponse { checkpoint: checkpoint.encode(), version: version.0, pin: pin.0 })
    }

    /// Releases the pins of an owner's checkpoints of a range, but for the newest; one that was made again under its number
    /// counts once.
    async fn let_go_of_older(&self, owner: &str, spans: &[PinSpan]) -> Result<(), Failure> {
        let pins = self.meta.pins_after_apply();
        let is_alike = |pin: &&Pin| pin.kind == PinKind::Checkpoint && pin.owner == owner && pin.spans == spans;
        let mut alike: Vec<_> = pins.iter().filter(is_alike).collect();
        alike.sort_unstable_by_key(|pin| std::cmp::Reverse((pin.version, pin.pin)));
        let (mut kept, mut older) = (Vec::new(), Vec::new());
        for pin in alike {
            if kept.len() < CHECKPOINTS_KEPT && !kept.contains(&&*pin.name) {
                kept.push(&*pin.name);
            } else {
                older.push(pin.pin);
            }
        }
        for pin in older {
            match self.meta.propose(&MetaCommand::ReleasePin { pin }).await {
                // Another has released it.
                Err(failure) if failure::is_not_found(&failure) => {}
                released => drop(released?),
            }
        }
        Ok(())
    }

    /// Checks that a fence owns all of a range now. Returns the owner.
    async fn check_owner(
        &self,
        table: &str,
        range: &KeyRange,
        fence: u64,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let (mut rest, mut owner) = (Some(range.clone()), String::new());
        while let Some(range) = rest {
            let (start, end) = (range.start().clone(), range.end().cloned());
            let mut next = start.clone();
            let page = v1::OwnedRequest { table: table.to_owned(), start, end, ..v1::OwnedRequest::default() };
            let page = self.relay_owned(page, deadline).await?;
            rest = page.rest.map(|rest| convert::range(rest.start, rest.end)).transpose()?;
            let covered_to = rest.as_ref().map_or_else(|| range.end().cloned(), |rest| Some(rest.start().clone()));
            let fenced = |found: Option<u64>| {
                failure::of_refusal(&lentic_machine::Refusal::Fenced {
                    newest: found.map(|found| Token(Version(found))),
                })
            };
            let mut is_open = false;
            for owned in page.owned {
                if owned.start > next || is_open {
                    return Err(fenced(None));
                }
                if owned.fence != fence {
                    return Err(fenced(Some(owned.fence)));
                }
                owner = owned.owner;
                match owned.end {
                    Some(end) => next = next.max(end),
                    None => is_open = true,
                }
            }
            if !is_open && covered_to.is_none_or(|to| next < to) {
                return Err(fenced(None));
            }
        }
        Ok(owner)
    }

    /// The owned parts of a range of a shard of this node.
    pub(crate) async fn owned(&self, request: v1::OwnedRequest) -> Result<v1::OwnedResponse, Failure> {
        let (replica, epoch) = self.replica(request.route)?;
        let range = convert::range(request.start, request.end)?;
        let now = self.now().await?.version;
        let page = replica.reader.owned(epoch, &range, request.seen_at.map(Version)).await;
        let told = |failure| self.routes.add_to(failure, replica.shard, Some(range.start()));
        let (found, rest, undone) = page.map_err(told)?;
        let owned = found.into_iter().map(|fence| v1::Owned {
            start: fence.range.start().clone(),
            end: fence.range.end().cloned(),
            owner: String::from_utf8_lossy(&fence.owner).into_owned(),
            fence: fence.token.0.0,
        });
        let rest = rest.map(|rest| v1::Rest { start: rest.start().clone(), end: rest.end().cloned() });
        Ok(v1::OwnedResponse { owned: owned.collect(), now, rest, undone })
    }

    /// One page, of one shard; what is left of the whole range comes with it.
    pub(super) async fn relay_owned(
        &self,
        mut request: v1::OwnedRequest,
        deadline: Instant,
    ) -> Result<v1::OwnedResponse, Failure> {
        let wanted = convert::range(request.start.clone(), request.end.clone())?;
        self.know(&request.table, deadline).await?;
        let (part, beyond) = self.part_of(&request.table, &wanted, false)?;
        (request.start, request.end) = (part.start().clone(), part.end().cloned());
        let table = request.table.clone();
        let ask = move |route| Request::Owned(v1::OwnedRequest { route: Some(route), ..request.clone() });
        let Response::Owned(mut page) = self.ask_shard(&table, part.start(), true, &ask, deadline).await? else {
            return Err(failure::internal("a question for owners was answered by something else"));
        };
        page.rest = super::relay::join(page.rest.take(), beyond, false);
        Ok(page)
    }

    /// The table of a name.
    pub(super) async fn table_id(&self, name: &str, deadline: Instant) -> Result<TableId, Failure> {
        self.know(name, deadline).await?;
        let catalog = self.meta.catalog();
        let table = catalog.table_named(name);
        table.map(|table| table.table).ok_or_else(|| failure::not_found(format!("there is no table {name}")))
    }
}

fn gone() -> Failure {
    failure::not_found("the table is gone")
}
