//! What a query may ask of its state, and the state of a job's task.

use lentic_client::state::{Data, Key, ListState, Task, Timers, ValueState};

/// States by key, of whatever kind. The benchmark ends where one fails.
pub(super) trait Backend {
    type Value<K: Key, V: Data>;
    type List<K: Key, V: Data>;
    type Timers<K: Key + Ord>;

    fn value_state<K: Key, V: Data>(&mut self, name: &'static str) -> Self::Value<K, V>;
    fn list_state<K: Key, V: Data>(&mut self, name: &'static str) -> Self::List<K, V>;
    fn timers<K: Key + Ord>(&mut self, name: &'static str) -> Self::Timers<K>;

    /// These keys are read soon.
    async fn prefetch<K: Key, V: Data>(&mut self, state: &Self::Value<K, V>, keys: &[K]);
    async fn value<K: Key, V: Data>(&mut self, state: &Self::Value<K, V>, key: &K) -> Option<V>;
    async fn update<K: Key, V: Data>(&mut self, state: &Self::Value<K, V>, key: &K, value: &V);
    async fn clear<K: Key, V: Data>(&mut self, state: &Self::Value<K, V>, key: &K);
    async fn elements<K: Key, V: Data>(&mut self, state: &Self::List<K, V>, key: &K) -> Vec<V>;
    /// Adds to the end of a list, without reading it.
    async fn add<K: Key, V: Data>(&mut self, state: &Self::List<K, V>, key: &K, element: &V);
    async fn set_timer<K: Key + Ord>(&mut self, timers: &mut Self::Timers<K>, time: i64, key: K);
    /// Takes the first timer that is due at `time`.
    async fn pop_up_to<K: Key + Ord>(&mut self, timers: &mut Self::Timers<K>, time: i64) -> Option<(i64, K)>;
    /// All of it is on disk.
    async fn make_durable(&mut self);
}

impl Backend for Task {
    type Value<K: Key, V: Data> = ValueState<K, V>;
    type List<K: Key, V: Data> = ListState<K, V>;
    type Timers<K: Key + Ord> = Timers<K>;

    fn value_state<K: Key, V: Data>(&mut self, name: &'static str) -> ValueState<K, V> {
        Self::value_state(self, name).expect("a new state")
    }

    fn list_state<K: Key, V: Data>(&mut self, name: &'static str) -> ListState<K, V> {
        Self::list_state(self, name).expect("a new state")
    }

    fn timers<K: Key + Ord>(&mut self, name: &'static str) -> Timers<K> {
        Self::timers(self, name).expect("a new state")
    }

    async fn prefetch<K: Key, V: Data>(&mut self, state: &ValueState<K, V>, keys: &[K]) {
        state.prefetch(self, keys).await.expect("the table answers");
    }

    async fn value<K: Key, V: Data>(&mut self, state: &ValueState<K, V>, key: &K) -> Option<V> {
        state.value(self, key).await.expect("the table answers")
    }

    async fn update<K: Key, V: Data>(&mut self, state: &ValueState<K, V>, key: &K, value: &V) {
        state.update(self, key, value).await.expect("the table takes it");
    }

    async fn clear<K: Key, V: Data>(&mut self, state: &ValueState<K, V>, key: &K) {
        state.clear(self, key).await.expect("the table takes it");
    }

    async fn elements<K: Key, V: Data>(&mut self, state: &ListState<K, V>, key: &K) -> Vec<V> {
        state.get(self, key).await.expect("the table answers")
    }

    async fn add<K: Key, V: Data>(&mut self, state: &ListState<K, V>, key: &K, element: &V) {
        state.add(self, key, element).await.expect("the table takes it");
    }

    async fn set_timer<K: Key + Ord>(&mut self, timers: &mut Timers<K>, time: i64, key: K) {
        timers.add(self, time, &key).await.expect("the table takes it");
    }

    async fn pop_up_to<K: Key + Ord>(&mut self, timers: &mut Timers<K>, time: i64) -> Option<(i64, K)> {
        let timer = timers.pop_up_to(self, time).await.expect("the table answers");
        timer.map(|timer| (timer.time, timer.key))
    }

    async fn make_durable(&mut self) {
        self.checkpoint(1).await.expect("the table takes it");
    }
}
