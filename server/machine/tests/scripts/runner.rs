//! Plays scripts over a replica in memory.

use std::error::Error;
use std::fmt::Write as _;

use goldenscript::Context;
use lentic_engine::feed::{Feed, FeedLimits, Window};
use lentic_engine::gc::GcHandle;
use lentic_engine::{Direction, Family, ReadStats, ScanLimits, Store as _};
use lentic_machine::Request;
use lentic_machine::shard::{Action, Descriptor, Write};
use lentic_types::limits::FEED_WINDOW_BYTES_MAX;
use lentic_types::{Epoch, GroupId, Index, KeyRange, Position, ShardId, TableId, Version};

use crate::command::Command;
use crate::notation::{self, Cell, Kind};
use crate::replica::{GROUP, Replica};
use crate::{print, print_txn, request};

/// The table of every script's shard.
pub(crate) const TABLE: TableId = TableId(7);

type Output = Result<String, Box<dyn Error>>;

/// A replica, and what a script is about to do with it.
pub(crate) struct Runner {
    replica: Option<Replica>,
    /// Between `begin` and `commit`: the epoch, and the requests so far.
    gathered: Option<(Option<Epoch>, Vec<Request>)>,
    /// Whether the group has ended: nothing more can be applied until it is loaded anew.
    has_ended: bool,
}

impl Runner {
    pub(crate) const fn new() -> Self {
        Self { replica: None, gathered: None, has_ended: false }
    }

    fn replica(&mut self) -> Result<&mut Replica, Box<dyn Error>> {
        self.replica.as_mut().ok_or_else(|| "there is no shard; create it".into())
    }

    /// Applies an entry, and prints what came of it.
    fn apply(
        &mut self,
        rider: Option<ShardId>,
        epoch: Option<Epoch>,
        index: Option<Index>,
        requests: Vec<Request>,
    ) -> Output {
        if self.has_ended {
            return Err("the group has ended; reload it".into());
        }
        let replica = self.replica()?;
        let epoch = epoch.unwrap_or_else(|| replica.epoch_of(rider));
        let command = lentic_machine::Command { epoch, requests };
        let applied = match replica.apply(rider, index, &command)? {
            Ok(applied) => applied,
            Err(fatal) => {
                self.has_ended = true;
                return Ok(format!("the group ends: {fatal}\n"));
            }
        };
        let mut out = String::new();
        for (request, outcome) in command.requests.iter().zip(&applied.replies) {
            writeln!(out, "{} → {}", notation::version(request.version), print::outcome(outcome))?;
        }
        applied.events.iter().try_for_each(|event| writeln!(out, "{}", print::event(event)))?;
        writeln!(out, "{}", print::stats(&applied.stats))?;
        Ok(out)
    }

    fn request(&mut self, command: &goldenscript::Command, context: &Context) -> Output {
        let line = request::parse(command, context)?;
        match &mut self.gathered {
            None => self.apply(line.rider, line.epoch, line.index, vec![line.request]),
            Some((_, requests)) => {
                requests.push(line.request);
                Ok(String::new())
            }
        }
    }

    fn retry(&mut self, first: Version, of: Option<Version>) -> Output {
        let (rider, mut entry) = self.replica()?.entry(of)?;
        for (stamp, request) in (first.0..).zip(&mut entry.requests) {
            request.version = Version(stamp);
        }
        self.apply(rider, Some(entry.epoch), None, entry.requests)
    }

    fn busy(&mut self, from: Version, to: Version) -> Output {
        let nothing = |ms| {
            let version = Version::tick(ms, 0).ok_or("the time has no version")?;
            Ok(Request { version, key: None, action: Action::Write(Write::default()) })
        };
        let requests = (from.ms()..=to.ms()).step_by(1_000).map(nothing).collect::<Result<Vec<_>, String>>()?;
        let count = requests.len();
        self.apply(None, None, None, requests)?;
        Ok(format!("{count} writes of nothing\n"))
    }

    fn get(&mut self, cell: &Cell, of: Option<u64>, kind: Kind) -> Output {
        let replica = self.replica()?;
        let at = replica.shard_of(of)?.read_at(cell.version);
        let found = at.get(&replica.store, &cell.key, &mut ReadStats::default())?;
        let name = notation::text(&cell.key) + &notation::version(cell.version);
        Ok(format!("{name} → {}\n", print::found(kind, found)))
    }

    fn scan(&mut self, range: &KeyRange, at: Version, of: Option<u64>, kind: Kind) -> Output {
        let replica = self.replica()?;
        let (at, limits) = (replica.shard_of(of)?.read_at(at), ScanLimits::default());
        let page = at.scan(&replica.store, range, Direction::Forward, &limits, &mut ReadStats::default())?;
        let row = |(key, found): (&[u8], _)| format!("{} → {}\n", notation::text(key), print::found(kind, Some(found)));
        let rows: String = page.rows.iter().map(|one| row((&one.key, one.found.clone()))).collect();
        Ok(if rows.is_empty() { "no rows\n".to_owned() } else { rows })
    }

    /// What is told of a range, as a shard's leader tells it.
    fn feed(&mut self, range: &KeyRange, after: Version, until: Version) -> Output {
        let replica = self.replica()?;
        let (shard, store, mut stats) = (replica.shard(), &replica.store, ReadStats::default());
        let watermark = shard.descriptor().watermark;
        if after < watermark {
            return Ok(format!("too old: watermark {}\n", notation::version(watermark)));
        }
        let after = Position::after(after);
        let mut window = Window::new(TABLE, range.clone(), after.clone(), until, FEED_WINDOW_BYTES_MAX);
        while !window.advance(store, 1, &mut stats)? {}
        let (feed, limits) = (Feed { table: TABLE, masks: shard.masks(), range }, FeedLimits::default());
        let page = feed.page(store, &after, window.changes(&after, range), &window.end(), &limits, &mut stats)?;
        let page = page.ok_or("a change that was found is not in the store")?;
        Ok(page.events.iter().map(|event| print::feed_event(event) + "\n").collect::<String>() + "up to here\n")
    }

    fn dump(&mut self, family: &str, kind: Kind) -> Output {
        let replica = self.replica()?;
        let mut out = String::new();
        match family {
            "data" => {
                for (key, value) in replica.store.entries(Family::Data) {
                    writeln!(out, "{}", print::data_entry(kind, &key, &value)?)?;
                }
            }
            "sys" => {
                for (key, value) in replica.store.entries(Family::Sys) {
                    writeln!(out, "{}", print::sys_entry(GROUP, &key, &value)?)?;
                }
            }
            "lock" => {
                for (key, value) in replica.store.entries(Family::Lock) {
                    writeln!(out, "{}", print_txn::lock_entry(&key, &value)?)?;
                }
            }
            _ => return Err("expected data, lock or sys".into()),
        }
        Ok(if out.is_empty() { "no entries\n".to_owned() } else { out })
    }
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Output {
        match command {
            Command::Create { range, epoch, ttl } => {
                let range = range.as_ref().map_or_else(KeyRange::all, |range| range.0.clone());
                let epoch = Epoch(epoch.unwrap_or(1));
                let ttl_ms = ttl.unwrap_or_default();
                let descriptor = Descriptor { table: TABLE, range, epoch, watermark: Version::ZERO, ttl_ms };
                self.replica = Some(Replica::create(&descriptor)?);
                Ok(String::new())
            }
            Command::Begin { epoch } => {
                self.gathered = Some((epoch.map(Epoch), Vec::new()));
                Ok(String::new())
            }
            Command::Commit => {
                let (epoch, requests) = self.gathered.take().ok_or("there is no begin before commit")?;
                self.apply(None, epoch, None, requests)
            }
            Command::Busy { from, to } => self.busy(from.0, to.0),
            Command::Retry { version, of } => self.retry(version.0, of.map(|at| at.0)),
            Command::Get { cells, of, kind } => cells.iter().map(|cell| self.get(cell, *of, *kind)).collect(),
            Command::Feed { range, after, until } => self.feed(&range.0, after.0, until.0),
            Command::Scan { range, at, of, kind } => {
                let range = range.as_ref().map_or_else(KeyRange::all, |range| range.0.clone());
                self.scan(&range, at.map_or(Version::MAX, |at| at.0), *of, *kind)
            }
            Command::Heads(switch) => {
                self.replica()?.is_memo_shown = match switch.as_str() {
                    "on" => true,
                    "off" => false,
                    _ => return Err("expected on or off".into()),
                };
                Ok(String::new())
            }
            Command::Turn(group) => Ok(self.replica()?.turn(GroupId(*group)).map(|()| String::new())?),
            Command::Reload => {
                let is_same = self.replica()?.reload()?;
                if self.has_ended {
                    self.has_ended = false;
                    return Ok("loaded as before the last entry\n".to_owned());
                }
                if is_same { Ok("the same\n".to_owned()) } else { Err("another state was loaded".into()) }
            }
            Command::Flush => Ok(self.replica()?.store.flush().map(|()| String::new())?),
            Command::Collect => {
                let replica = self.replica()?;
                replica.store.flush()?;
                let (gc, shard) = (GcHandle::new(), replica.shard());
                for shard in shard.riders().map(|(rider, _)| rider).chain([shard]) {
                    gc.stage(shard.group(), shard.applied(), Some(shard.gc_rules()));
                }
                gc.promote(|_| Ok::<_, Box<dyn Error>>(shard.applied()))?;
                gc.ranges().iter().for_each(|(table, range)| replica.store.compact(*table, range, &gc));
                Ok(String::new())
            }
            Command::Crash { keep } => {
                let replica = self.replica()?;
                let back = replica.crash(*keep)?;
                Ok(format!("back at {back} of {}, the rest applied again\n", replica.entries()))
            }
            Command::Dump { family, kind } => self.dump(family, *kind),
            Command::State => Ok(print::state(self.replica()?.shard())),
            Command::Request(command) => self.request(command, context),
        }
    }
}
