//! What a node answers.

use bytes::Bytes;
use lentic_engine::{Diff, Direction, Found, MergeOperator, ReadStats, ScanLimits, Store as _};
use lentic_machine::shard::{Action, Condition, Expected, Operation, RequestKey, Token, Write};
use lentic_machine::{Command, Outcome, Refusal, Request};
use lentic_proto::v1::pipe_request::Request as Asked;
use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{self, Failure};
use lentic_types::{ClientId, ErrorKind, KeyRange, Limits, Version};

use super::world::{Table, World, address};

type Answer = Result<Response, Failure>;

impl World {
    /// What `node` answers. A request for keys passes through the faults first.
    pub(crate) fn answer(&mut self, node: u64, request: Asked) -> Response {
        let answer = match request {
            Asked::Hello(hello) => self.hello(node, &hello),
            Asked::Status(status) => Ok(Response::Status(self.status(node, status.shards))),
            Asked::Now(_) => Ok(Response::Now(v1::NowResponse { version: self.next_tick().0 })),
            Asked::IssueClient(_) => {
                self.clients += 1;
                let (client, version) = (self.clients, self.next_tick().0);
                Ok(Response::IssueClient(v1::IssueClientResponse { client, version }))
            }
            Asked::CreateTable(create) => self.create(create),
            Asked::Branch(branch) => self.branch(branch),
            Asked::DropTable(drop) => self.drop_table(&drop.name),
            Asked::DescribeTable(describe) => self.describe(&describe.name),
            Asked::ListTables(_) => {
                let tables = self.tables.iter().map(|(name, table)| table_message(name, table)).collect();
                Ok(Response::ListTables(v1::ListTablesResponse { tables }))
            }
            Asked::Transact(transact) => self.transact(node, transact),
            Asked::Take(take) => self.take(node, take),
            Asked::Release(release) => self.release(&release),
            Asked::Checkpoint(checkpoint) => self.checkpoint(&checkpoint),
            Asked::Owned(owned) => self.owned(owned),
            Asked::LastCheckpoint(asked) => self.last_checkpoint(&asked),
            Asked::CreateSnapshot(create) => self.create_snapshot(create),
            Asked::ShowSnapshot(show) => {
                let snapshot = self.pin_mut(&show.name, 0).map(|pin| pin.clone());
                snapshot.map(|pin| Response::ShowSnapshot(v1::ShowSnapshotResponse { snapshot: Some(pin) }))
            }
            Asked::ListPins(list) => {
                let is_asked =
                    |pin: &&v1::Pin| list.table.is_empty() || pin.spans.iter().any(|of| of.table == list.table);
                let pins = self.pins.iter().map(|(_, pin)| pin).filter(is_asked).cloned().collect();
                Ok(Response::ListPins(v1::ListPinsResponse { pins }))
            }
            Asked::DropPin(drop)
                if self.pin_mut(&drop.name, drop.pin).is_ok_and(|pin| pin.kind() == v1::PinKind::Branch) =>
            {
                Err(Failure::new(ErrorKind::InUse, "the pin goes with its branch; drop the branch"))
            }
            Asked::DropPin(drop) => self.pin_mut(&drop.name, drop.pin).map(|pin| pin.pin).map(|gone| {
                self.pins.retain(|(_, pin)| pin.pin != gone);
                Response::DropPin(v1::DropPinResponse {})
            }),
            Asked::RenewPin(renew) => {
                let end = self.next_tick().plus_ms(renew.lease_ms).map(|end| end.0).filter(|_| renew.lease_ms > 0);
                self.pin_mut(&renew.name, renew.pin).map(|pin| {
                    pin.expires = end.map(|end| pin.expires.map_or(end, |before| before.max(end)));
                    Response::RenewPin(v1::RenewPinResponse { pin: Some(pin.clone()) })
                })
            }
            Asked::History(history) => self.history(node, &history.table),
            Asked::Step(_) => Err(Failure::invalid("steps are for nodes")),
            Asked::Join(_) => Err(Failure::invalid("a client does not join")),
            Asked::Balance(_) => Err(Failure::invalid("this cluster has no balance")),
            Asked::MoveReplica(_) | Asked::SplitShard(_) | Asked::SetNodeState(_) => {
                Err(Failure::invalid("nothing moves here"))
            }
            Asked::TransferLeader(transfer) => self.transfer(node, &transfer),
            Asked::Write(write) => {
                self.at_shard(node, &write.table, write.route, &first_key(&write)).and_then(|id| self.write(id, write))
            }
            Asked::Get(get) => self.at_shard(node, &get.table, get.route, &get.key).and_then(|id| self.get(id, &get)),
            Asked::MultiGet(get) => {
                let key = get.keys.first().cloned().unwrap_or_default();
                self.at_shard(node, &get.table, get.route, &key).and_then(|id| self.multi_get(id, &get))
            }
            Asked::Scan(scan) => {
                self.at_shard(node, &scan.table, scan.route, &scan.start).and_then(|id| self.scan(id, scan))
            }
            Asked::Diff(diff) => {
                self.at_shard(node, &diff.table, diff.route, &diff.start).and_then(|id| self.diff(id, diff))
            }
            Asked::Feed(feed) => {
                self.at_shard(node, &feed.table, feed.route, &feed.start).and_then(|id| self.feed(id, feed))
            }
        };
        answer.unwrap_or_else(Response::Failure)
    }

    fn hello(&self, node: u64, hello: &v1::Hello) -> Answer {
        if !hello.cluster.is_empty() && hello.cluster != self.cluster[..] {
            return Err(Failure::invalid("this is another cluster"));
        }
        Ok(Response::Hello(v1::Hello {
            cluster: Bytes::copy_from_slice(&self.cluster),
            node,
            release: "fake".to_owned(),
            request_bytes_max: self.request_bytes_max,
            addresses: (1..=self.nodes).map(|node| address(node).to_string()).collect(),
        }))
    }

    fn status(&self, node: u64, with_shards: bool) -> v1::StatusResponse {
        let node_status = |node| v1::Node {
            node,
            address: address(node).to_string(),
            http_address: String::new(),
            alive: !self.faults.down.contains(&node),
            replicas: u32::try_from(self.shards.len()).expect("few shards"),
            leaders: u32::try_from(self.shards.values().filter(|shard| shard.leader == Some(node)).count())
                .expect("few"),
            state: v1::NodeState::Active.into(),
        };
        let shard_status = |(name, id): (&String, &u64)| v1::ShardStatus {
            shard: Some(self.shard_message(*id)),
            table: name.clone(),
            leaving: Vec::new(),
            ..v1::ShardStatus::default()
        };
        let shards = self.tables.iter().flat_map(|(name, table)| table.shards.iter().map(move |id| (name, id)));
        v1::StatusResponse {
            cluster: Bytes::copy_from_slice(&self.cluster),
            node,
            meta_leader: Some(1),
            nodes: (1..=self.nodes).map(node_status).collect(),
            tables: u32::try_from(self.tables.len()).expect("few tables"),
            shards: if with_shards { shards.map(shard_status).collect() } else { Vec::new() },
            release: "fake".to_owned(),
        }
    }

    fn create(&mut self, create: v1::CreateTableRequest) -> Answer {
        let options = create.options.unwrap_or_default();
        if let Some(table) = self.tables.get(&create.name) {
            if table.options != options {
                return Err(Failure::new(ErrorKind::AlreadyExists, format!("table {} has other options", create.name)));
            }
        } else {
            let id = u32::try_from(self.next_id()).expect("few tables");
            let count = options.shards.max(1);
            let points: Vec<Bytes> = match &options.split_points[..] {
                [] => (1..count)
                    .map(|part| Bytes::copy_from_slice(&[u8::try_from(part * 256 / count).expect("a byte")]))
                    .collect(),
                points => points.to_vec(),
            };
            let starts = std::iter::once(Bytes::new()).chain(points.iter().cloned());
            let ends = points.iter().cloned().map(Some).chain([None]);
            let ranges: Vec<_> = starts.zip(ends).map(|(start, end)| KeyRange::new(start, end)).collect();
            let Ok(ranges) = ranges.into_iter().collect::<Result<Vec<_>, _>>() else {
                return Err(Failure::invalid("split points are not in key order"));
            };
            let shards = ranges.into_iter().map(|range| self.make_shard(id, range, options.ttl_ms)).collect();
            self.tables.insert(create.name.clone(), Table { id, options, shards, branch_of: None });
        }
        let (table, shards) =
            (Some(table_message(&create.name, &self.tables[&create.name])), self.shard_messages(&create.name));
        Ok(Response::CreateTable(v1::CreateTableResponse { table, shards }))
    }

    fn branch(&mut self, branch: v1::BranchRequest) -> Answer {
        let answer = |world: &Self, name: &str| {
            let (table, shards) = (Some(table_message(name, &world.tables[name])), world.shard_messages(name));
            Ok(Response::Branch(v1::BranchResponse { table, shards }))
        };
        if self.branches.contains(&(branch.nonce.clone(), branch.name.clone())) {
            return answer(self, &branch.name);
        }
        if self.tables.contains_key(&branch.name) {
            return Err(Failure::new(ErrorKind::AlreadyExists, "there is a table of this name"));
        }
        let now = self.next_tick();
        let at = branch.at.map_or(now, Version);
        let parent = self.tables.get(&branch.of).cloned().ok_or_else(|| no_table(&branch.of))?;
        let base =
            parent.branch_of.as_ref().map_or(Version::tick(1_000, 0).expect("in range"), |of| Version(of.version));
        if at > now || at < base {
            let kind = if at > now { ErrorKind::VersionTooNew } else { ErrorKind::VersionTooOld };
            return Err(Failure::new(kind, "there is no history of then; choose another version"));
        }
        let id = u32::try_from(self.next_id()).expect("few tables");
        let shards = parent.shards.iter().map(|of| self.branch_shard(id, *of, at)).collect();
        let parent_name = branch.of.clone();
        let branch_of = Some(v1::BranchOf { name: branch.of, version: at.0 });
        self.tables.insert(branch.name.clone(), Table { id, options: parent.options, shards, branch_of });
        let told = answer(self, &branch.name);
        let pin = v1::Pin {
            pin: self.next_id(),
            kind: v1::PinKind::Branch.into(),
            name: format!("branch/{id}"),
            owner: branch.name.clone(),
            spans: vec![v1::PinSpan { table: parent_name, ..v1::PinSpan::default() }],
            version: at.0,
            created: now.0,
            expires: None,
        };
        self.pins.push((branch.nonce.clone(), pin));
        self.branches.push((branch.nonce, branch.name));
        told
    }

    fn drop_table(&mut self, name: &str) -> Answer {
        let is_branch = |table: &&Table| table.branch_of.as_ref().is_some_and(|of| of.name == name);
        if self.tables.values().any(|table| is_branch(&table)) {
            return Err(Failure::new(ErrorKind::InUse, "the table has a branch; drop that first"));
        }
        let table = self.tables.remove(name).ok_or_else(|| no_table(name))?;
        self.pins.retain(|(_, pin)| pin.kind() != v1::PinKind::Branch || pin.owner != name);
        self.branches.retain(|(_, branch)| branch != name);
        table.shards.iter().for_each(|id| drop(self.shards.remove(id)));
        Ok(Response::DropTable(v1::DropTableResponse {}))
    }

    fn create_snapshot(&mut self, create: v1::CreateSnapshotRequest) -> Answer {
        let answer =
            |pin: &v1::Pin| Ok(Response::CreateSnapshot(v1::CreateSnapshotResponse { snapshot: Some(pin.clone()) }));
        if let Some((_, pin)) = self.pins.iter().find(|(nonce, _)| *nonce == create.nonce) {
            return answer(pin);
        }
        if self.pins.iter().any(|(_, pin)| pin.name == create.name) {
            return Err(Failure::new(ErrorKind::AlreadyExists, "there is a snapshot of this name"));
        }
        if create.name.is_empty() || create.tables.is_empty() {
            return Err(Failure::invalid("a snapshot has a name, and is of tables"));
        }
        let span = |name: String| match self.tables.contains_key(&name) {
            true => Ok(v1::PinSpan { table: name, ..v1::PinSpan::default() }),
            false => Err(no_table(&name)),
        };
        let spans = create.tables.into_iter().map(span).collect::<Result<Vec<_>, _>>()?;
        let version = self.next_tick();
        let pin = v1::Pin {
            pin: version.0,
            kind: v1::PinKind::Snapshot.into(),
            name: create.name,
            owner: create.owner,
            spans,
            version: version.0,
            created: version.0,
            expires: version.plus_ms(create.lease_ms).map(|end| end.0).filter(|_| create.lease_ms > 0),
        };
        let told = answer(&pin);
        self.pins.push((create.nonce, pin));
        told
    }

    fn pin_mut(&mut self, name: &str, pin: u64) -> Result<&mut v1::Pin, Failure> {
        let is_meant = |one: &&mut v1::Pin| if name.is_empty() { one.pin == pin } else { one.name == name };
        let missing = || Failure::new(ErrorKind::NotFound, "there is no such snapshot");
        self.pins.iter_mut().map(|(_, pin)| pin).find(is_meant).ok_or_else(missing)
    }

    fn history(&self, node: u64, name: &str) -> Answer {
        if !name.is_empty() && !self.tables.contains_key(name) {
            return Err(no_table(name));
        }
        let tables = self.tables.iter().filter(|(known, _)| name.is_empty() || known.as_str() == name);
        let row = |(name, table): (&String, &Table), shard: u64| {
            let machine = &self.shards[&shard].machine;
            v1::ShardHistory {
                shard,
                table: table.id,
                table_name: name.clone(),
                node,
                watermark: machine.descriptor().watermark.0,
                newest: machine.newest().0,
                retention_ms: 3_600_000,
                ..v1::ShardHistory::default()
            }
        };
        let shards = tables.flat_map(|(name, table)| table.shards.iter().map(move |shard| row((name, table), *shard)));
        Ok(Response::History(v1::HistoryResponse { shards: shards.collect() }))
    }

    fn describe(&self, name: &str) -> Answer {
        let table = self.tables.get(name).ok_or_else(|| no_table(name))?;
        let (table, shards) = (Some(table_message(name, table)), self.shard_messages(name));
        Ok(Response::DescribeTable(v1::DescribeTableResponse { table, shards }))
    }

    fn transfer(&mut self, node: u64, transfer: &v1::TransferLeaderRequest) -> Answer {
        let nodes = self.nodes;
        if self.shards.get(&transfer.shard).is_some_and(|place| place.leader != Some(node)) {
            let failure = Failure::new(ErrorKind::NotLeader, "only its leader hands a shard over");
            return Err(failure.with_shard(self.shard_message(transfer.shard)));
        }
        let place =
            self.shards.get_mut(&transfer.shard).ok_or_else(|| Failure::new(ErrorKind::NotFound, "no such shard"))?;
        let next = place.leader.map_or(1, |leader| 1 + leader % nodes);
        place.leader = Some(if transfer.to == 0 { next } else { transfer.to });
        Ok(Response::TransferLeader(v1::TransferLeaderResponse {}))
    }

    /// The shard that a request is for, if `node` may serve it.
    pub(super) fn at_shard(
        &mut self,
        node: u64,
        table: &str,
        route: Option<v1::Route>,
        key: &[u8],
    ) -> Result<u64, Failure> {
        if self.faults.throttled > 0 {
            self.faults.throttled -= 1;
            return Err(Failure::new(ErrorKind::Throttled, "wait").with_retry_after_ms(20));
        }
        let id = match route {
            Some(route) => route.shard,
            None if self.tables.contains_key(table) => self.shard_of(table, key).expect("shards cover a table"),
            None => return Err(no_table(table)),
        };
        if self.shards.contains_key(&id) && self.faults.happens(self.faults.move_permille) {
            let leader = 1 + self.faults.draw(self.nodes);
            self.lead(id, Some(leader));
            if leader == node {
                self.raise_epoch(id);
            }
        }
        let place = self.shards.get(&id).ok_or_else(|| Failure::new(ErrorKind::NotFound, "no such shard"))?;
        let (epoch, leader) = (place.epoch(), place.leader);
        let hint =
            |failure: Failure| if self.faults.no_hints { failure } else { failure.with_shard(self.shard_message(id)) };
        let is_here = match route {
            Some(_) => leader == Some(node),
            // It is passed on, if the leader is there.
            None => leader.is_some_and(|leader| !self.faults.down.contains(&leader)),
        };
        if !is_here || self.faults.electing.contains(&id) {
            return Err(hint(Failure::new(ErrorKind::NotLeader, format!("node {node} does not lead shard {id}"))));
        }
        if route.is_some_and(|route| route.epoch != epoch.0) {
            return Err(hint(Failure::new(ErrorKind::WrongEpoch, format!("shard {id} is at {epoch}"))));
        }
        Ok(id)
    }

    fn write(&mut self, id: u64, write: v1::WriteRequest) -> Answer {
        let version = self.next_tick();
        if self.faults.forgetful {
            return Err(failure(&Refusal::AnswerForgotten));
        }
        if let Some(key) = &write.key {
            assert!(key.issued != 0 && key.sequence >= key.acked_below, "a key that nobody may make");
            self.widest_window = self.widest_window.max(key.sequence - key.acked_below);
        }
        let key = write.key.as_ref().map(request_key);
        let place = self.shards.get_mut(&id).expect("it was found");
        let request = Request { version, key, action: Action::Write(decode(write)?) };
        request.check(&Limits::default()).map_err(|refusal| failure(&refusal))?;
        let command = Command { epoch: place.epoch(), requests: vec![request] };
        let index = place.machine.applied().next();
        let applied = place.machine.apply(index, &command, &place.store).expect("the machine is sound");
        place.store.write(&applied.batch).expect("a store in memory works");
        place.committed += applied.stats.committed;
        match &applied.replies[0] {
            Outcome::Committed { version } => Ok(Response::Write(v1::WriteResponse { version: version.0 })),
            Outcome::Refused(refusal) => Err(failure(refusal)),
            other => panic!("a write has another outcome: {other:?}"),
        }
    }

    /// The version to read at.
    fn read_version(&mut self, id: u64, at: Option<u64>) -> Result<Version, Failure> {
        let Some(at) = at.map(Version) else { return Ok(self.next_tick()) };
        if at > self.newest_tick() {
            return Err(Failure::new(ErrorKind::VersionTooNew, "the version is in the future"));
        }
        let watermark = self.shards[&id].machine.descriptor().watermark;
        if at < watermark {
            return Err(Failure::new(ErrorKind::VersionTooOld, "history is gone").with_version(watermark.0));
        }
        Ok(at)
    }

    fn get(&mut self, id: u64, get: &v1::GetRequest) -> Answer {
        let at = self.read_version(id, get.at)?;
        let place = &self.shards[&id];
        let found = place.machine.read_at(at).get(&place.store, &get.key, &mut ReadStats::default());
        let value = found.expect("a store in memory works").map(value_message);
        Ok(Response::Get(v1::GetResponse { value }))
    }

    fn multi_get(&mut self, id: u64, get: &v1::MultiGetRequest) -> Answer {
        let at = self.read_version(id, get.at)?;
        let place = &self.shards[&id];
        if !get.keys.iter().all(|key| place.range().contains(key)) {
            return Err(failure(&Refusal::OutOfRange));
        }
        let found = place.machine.read_at(at).multi_get(&place.store, &get.keys, &mut ReadStats::default());
        let values = found
            .expect("a store in memory works")
            .into_iter()
            .map(|found| v1::GetResponse { value: found.map(value_message) });
        Ok(Response::MultiGet(v1::MultiGetResponse { values: values.collect(), at: at.0 }))
    }

    fn scan(&mut self, id: u64, scan: v1::ScanRequest) -> Answer {
        let at = self.read_version(id, scan.at)?;
        let range = lentic_proto::key_range(scan.start, scan.end)?;
        let place = &self.shards[&id];
        if !place.range().covers(&range) {
            return Err(failure(&Refusal::OutOfRange));
        }
        let direction = if scan.backward { Direction::Reverse } else { Direction::Forward };
        let mut limits = ScanLimits::default();
        if scan.limit > 0 {
            limits.rows_max = limits.rows_max.min(usize::try_from(scan.limit).unwrap_or(usize::MAX));
        }
        if scan.page_bytes > 0 {
            limits.bytes_max = limits.bytes_max.min(scan.page_bytes as usize);
        }
        let page = place.machine.read_at(at).scan(&place.store, &range, direction, &limits, &mut ReadStats::default());
        let page = page.expect("a store in memory works");
        let rows = page.rows.into_iter().map(|row| v1::Row { key: row.key, value: Some(value_message(row.found)) });
        Ok(Response::Scan(v1::ScanResponse { rows: rows.collect(), at: at.0, rest: page.rest.map(v1::Rest::from) }))
    }

    fn diff(&mut self, id: u64, request: v1::DiffRequest) -> Answer {
        let (from, to) = (self.read_version(id, Some(request.from))?, self.read_version(id, Some(request.to))?);
        let range = lentic_proto::key_range(request.start, request.end)?;
        let place = &self.shards[&id];
        if !place.range().covers(&range) {
            return Err(failure(&Refusal::OutOfRange));
        }
        // A row a page, and sometimes none.
        let limits = ScanLimits { rows_max: 1, steps_max: 8, ..ScanLimits::default() };
        let (table, masks) = (place.machine.descriptor().table, place.machine.masks());
        let page =
            Diff { table, from, to, masks, layers: &[] }.page(&place.store, &range, &limits, &mut ReadStats::default());
        let page = page.expect("a store in memory works");
        let rows = page.rows.into_iter().map(|row| v1::DiffRow {
            key: row.key,
            from: row.from.map(value_message),
            to: row.to.map(value_message),
        });
        Ok(Response::Diff(v1::DiffResponse { rows: rows.collect(), rest: page.rest.map(v1::Rest::from) }))
    }
}

fn first_key(write: &v1::WriteRequest) -> Bytes {
    let condition = write.conditions.first().map(|condition| condition.key.clone());
    let operation = || match write.operations.first()?.operation.as_ref()? {
        v1::operation::Operation::Put(put) => Some(put.key.clone()),
        v1::operation::Operation::Delete(delete) => Some(delete.key.clone()),
        v1::operation::Operation::DeleteRange(range) => Some(range.start.clone()),
        v1::operation::Operation::Merge(merge) => Some(merge.key.clone()),
    };
    condition.or_else(operation).unwrap_or_default()
}

pub(super) fn decode(write: v1::WriteRequest) -> Result<Write, Failure> {
    let condition = |condition: v1::Condition| {
        let expected = match condition.expected.ok_or_else(|| Failure::invalid("nothing is expected"))? {
            v1::condition::Expected::Exists(_) => Expected::Exists,
            v1::condition::Expected::Absent(_) => Expected::Absent,
            v1::condition::Expected::VersionIs(version) => Expected::VersionIs(Version(version)),
            v1::condition::Expected::ValueIs(value) => Expected::ValueIs(value),
            v1::condition::Expected::UnchangedSince(version) => Expected::UnchangedSince(Version(version)),
        };
        Ok(Condition { key: condition.key, expected })
    };
    let operation = |operation: v1::Operation| {
        Ok(match operation.operation.ok_or_else(|| Failure::invalid("no operation"))? {
            v1::operation::Operation::Put(v1::Put { key, value, expires_unix_ms }) => {
                Operation::Put { key, value, expiry: expires_unix_ms.map(lentic_proto::expiry).transpose()? }
            }
            v1::operation::Operation::Delete(delete) => Operation::Delete { key: delete.key },
            v1::operation::Operation::DeleteRange(range) => Operation::DeleteRange { range: range.try_into()? },
            v1::operation::Operation::Merge(merge) => Operation::Merge {
                operator: u8::try_from(merge.operator)
                    .ok()
                    .and_then(MergeOperator::from_tag)
                    .ok_or_else(|| Failure::invalid("no such operator"))?,
                key: merge.key,
                operand: merge.operand,
                expiry: merge.expires_unix_ms.map(lentic_proto::expiry).transpose()?,
            },
        })
    };
    Ok(Write {
        fence: write.fence.map(|token| Token(Version(token))),
        ranges: Vec::new(),
        conditions: write.conditions.into_iter().map(condition).collect::<Result<_, Failure>>()?,
        operations: write.operations.into_iter().map(operation).collect::<Result<_, Failure>>()?,
    })
}

pub(super) fn request_key(key: &v1::RequestKey) -> RequestKey {
    RequestKey {
        client: ClientId(key.client),
        sequence: key.sequence,
        acked_below: key.acked_below,
        issued: Version(key.issued),
    }
}

pub(super) fn failure(refusal: &Refusal) -> Failure {
    let failure = Failure::new(refusal.kind(), refusal.to_string());
    match refusal {
        Refusal::ConditionFailed { position, found } => {
            let failure = failure.at_position(*position as usize);
            found.map_or(failure.clone(), |found| failure.with_version(found.0))
        }
        Refusal::WrongKind { position } | Refusal::TooLarge { position } | Refusal::Conflict { position } => {
            failure.at_position(*position as usize)
        }
        _ => failure,
    }
}

fn value_message(found: Found) -> v1::Value {
    let expires_unix_ms = found.expiry.map(lentic_proto::expiry_unix_ms);
    v1::Value { value: found.value, version: found.version.0, expires_unix_ms }
}

fn table_message(name: &str, table: &Table) -> v1::Table {
    let (options, branch_of) = (Some(table.options.clone()), table.branch_of.clone());
    v1::Table { table: table.id, name: name.to_owned(), options, branch_of }
}

pub(super) fn no_table(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("there is no table {name}"))
}
