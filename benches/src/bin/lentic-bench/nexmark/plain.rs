//! The same on a bare RocksDB, as a stream processor's task keeps it: a row for each key behind its key group, lists by merges,
//! no log, flushed at the end. Timers are found in memory, and written besides.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use lentic_client::state::{Data, Key, MaxParallelism};
use lentic_types::codec::{Reader, put_bytes};
use rocksdb::{DB, WriteBatch};
use tempfile::TempDir;

use super::backend::Backend;
use crate::peer;
use crate::state::KEY_GROUPS;

/// States in a RocksDB.
pub(super) struct Plain {
    database: DB,
    groups: MaxParallelism,
    states: u8,
    _directory: TempDir,
}

/// One state of it.
pub(super) struct State<K, V> {
    id: u8,
    of: PhantomData<fn(K) -> V>,
}

/// Timers of it.
pub(super) struct Queue<K> {
    id: u8,
    due: BTreeSet<(i64, K)>,
}

impl Plain {
    pub(super) fn open(directory: TempDir) -> Self {
        let groups = MaxParallelism::new(KEY_GROUPS.into()).expect("Flink's default");
        Self { database: peer::open(directory.path(), false), groups, states: 0, _directory: directory }
    }

    fn next_id(&mut self) -> u8 {
        self.states += 1;
        self.states
    }

    fn key(&self, id: u8, key: &impl Key) -> Vec<u8> {
        let group = self.groups.group_of(key.hash_code()).0;
        let mut out = Vec::with_capacity(32);
        out.extend_from_slice(&group.to_be_bytes());
        out.push(id);
        key.put_key(&mut out);
        out
    }

    fn timer(&self, id: u8, time: i64, key: &impl Key) -> Vec<u8> {
        let mut out = self.key(id, &time);
        key.put_key(&mut out);
        out
    }

    fn write(&self, fill: impl FnOnce(&mut WriteBatch)) {
        let mut batch = WriteBatch::default();
        fill(&mut batch);
        peer::write(&self.database, batch);
    }

    fn read(&self, key: &[u8]) -> Option<rocksdb::DBPinnableSlice<'_>> {
        self.database.get_pinned(key).expect("the store works")
    }
}

fn bytes_of(value: &impl Data) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(&mut out);
    out
}

impl Backend for Plain {
    type Value<K: Key, V: Data> = State<K, V>;
    type List<K: Key, V: Data> = State<K, V>;
    type Timers<K: Key + Ord> = Queue<K>;

    fn value_state<K: Key, V: Data>(&mut self, _name: &'static str) -> State<K, V> {
        State { id: self.next_id(), of: PhantomData }
    }

    fn list_state<K: Key, V: Data>(&mut self, name: &'static str) -> State<K, V> {
        self.value_state(name)
    }

    fn timers<K: Key + Ord>(&mut self, _name: &'static str) -> Queue<K> {
        Queue { id: self.next_id(), due: BTreeSet::new() }
    }

    async fn prefetch<K: Key, V: Data>(&mut self, _state: &State<K, V>, _keys: &[K]) {}

    async fn value<K: Key, V: Data>(&mut self, state: &State<K, V>, key: &K) -> Option<V> {
        let found = self.read(&self.key(state.id, key))?;
        Some(V::from_data(&found).expect("it was written here"))
    }

    async fn update<K: Key, V: Data>(&mut self, state: &State<K, V>, key: &K, value: &V) {
        self.write(|batch| batch.put(self.key(state.id, key), bytes_of(value)));
    }

    async fn clear<K: Key, V: Data>(&mut self, state: &State<K, V>, key: &K) {
        self.write(|batch| batch.delete(self.key(state.id, key)));
    }

    async fn elements<K: Key, V: Data>(&mut self, state: &State<K, V>, key: &K) -> Vec<V> {
        let Some(found) = self.read(&self.key(state.id, key)) else { return Vec::new() };
        let (mut reader, mut elements) = (Reader::new(&found), Vec::new());
        while !reader.rest().is_empty() {
            let element = reader.bytes("element").and_then(V::from_data);
            elements.push(element.expect("it was written here"));
        }
        elements
    }

    async fn add<K: Key, V: Data>(&mut self, state: &State<K, V>, key: &K, element: &V) {
        let mut operand = Vec::new();
        put_bytes(&mut operand, &bytes_of(element));
        self.write(|batch| batch.merge(self.key(state.id, key), operand));
    }

    async fn set_timer<K: Key + Ord>(&mut self, timers: &mut Queue<K>, time: i64, key: K) {
        self.write(|batch| batch.put(self.timer(timers.id, time, &key), []));
        timers.due.insert((time, key));
    }

    async fn pop_up_to<K: Key + Ord>(&mut self, timers: &mut Queue<K>, time: i64) -> Option<(i64, K)> {
        if timers.due.first()?.0 > time {
            return None;
        }
        let (due, key) = timers.due.pop_first()?;
        self.write(|batch| batch.delete(self.timer(timers.id, due, &key)));
        Some((due, key))
    }

    async fn make_durable(&mut self) {
        self.database.flush().expect("the store works");
    }
}
