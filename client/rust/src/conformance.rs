//! What every client must do, whatever is behind it: a node in this process, one node, or three.
//!
//! Each [`Case`] makes tables of its own, so cases can run in any order, at the same time, and again on the same
//! cluster; [`run`] drops those that are left of others. A case panics where something is not as promised.

mod branches;
mod conditions;
mod diffs;
mod feeds;
mod history;
mod limits;
mod merges;
mod owners;
mod points;
mod promises;
mod replicas;
mod scans;
mod tables;
mod transactions;
mod txns;

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::join_all;
use lentic_types::{ErrorKind, Version};

use crate::admin::TableOptions;
use crate::client::Client;
use crate::error::Error;
use crate::table::Table;

/// What the names of tables begin with.
const NAMES: &str = "conformance_";

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One promise, or a few that belong together.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is promised.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(Client) -> BoxFuture,
}

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// Every case.
        pub const CASES: &[Case] =
            &[$(Case { name: stringify!($name), run: |client| Box::pin($module::$name(client)) },)*];
    };
}

cases! {
    tables::tables_are_made_listed_and_dropped,
    tables::a_table_is_cut_as_asked,
    tables::a_table_made_anew_is_empty,
    tables::the_cluster_describes_itself,
    tables::leaders_move_while_keys_stay,
    points::values_are_put_read_and_deleted,
    points::any_bytes_are_keys_and_values,
    points::versions_name_the_past,
    points::values_end,
    points::values_of_a_table_end_by_themselves,
    points::many_keys_are_read_at_one_version,
    conditions::conditions_decide,
    conditions::a_batch_takes_effect_as_one,
    conditions::a_batch_of_several_shards_is_refused,
    conditions::parts_go_to_their_shards,
    conditions::ranges_are_deleted,
    merges::operators_fold,
    merges::merges_refuse_other_kinds,
    merges::merges_grow_values,
    scans::scans_agree_with_a_model,
    scans::scans_read_at_one_version,
    scans::scans_stop_where_they_should,
    diffs::differences_are_what_two_readers_see,
    diffs::what_cannot_be_compared_is_refused,
    feeds::feeds_tell_every_commit_in_order,
    feeds::feeds_go_on_by_their_tokens,
    feeds::feeds_follow_what_happens,
    feeds::feeds_follow_leaders,
    feeds::feeds_refuse_what_they_cannot_tell,
    limits::keys_and_values_have_limits,
    limits::requests_have_limits,
    promises::a_version_of_now_divides_writes,
    promises::adders_lose_nothing,
    promises::a_copy_of_a_write_has_no_second_effect,
    promises::one_winner_of_a_race,
    promises::readers_see_writes_in_their_order,
    transactions::a_transaction_spans_tables_and_shards,
    transactions::conditions_decide_for_all_shards,
    transactions::a_table_that_is_not_there_stops_all,
    transactions::transactions_have_limits,
    transactions::a_copy_of_a_transaction_has_no_second_effect,
    transactions::transfers_keep_the_total,
    transactions::merges_of_many_do_not_conflict,
    txns::a_transaction_reads_what_it_writes,
    txns::scans_see_own_writes,
    txns::what_was_read_is_validated,
    txns::ranges_have_no_phantoms,
    txns::counters_lose_nothing,
    txns::write_skew_does_not_happen,
    txns::snapshots_stand_still,
    txns::a_handle_commits_once,
    txns::what_is_required_is_judged_at_commit,
    owners::only_the_owner_writes,
    owners::owners_are_told,
    owners::a_job_goes_back_to_its_checkpoints,
    owners::readers_read_at_the_last_complete_checkpoint,
    owners::what_cannot_be_restored_is_refused,
    owners::one_of_those_who_race_is_the_owner,
    history::snapshots_are_made_listed_and_dropped,
    history::a_snapshot_stands_still,
    history::a_copy_of_a_snapshot_is_the_same,
    history::leases_are_renewed,
    history::times_are_versions,
    history::what_no_snapshot_can_be_is_refused,
    history::shards_tell_how_far_back_they_go,
    replicas::any_replica_has_the_same_bytes,
    replicas::any_replica_refuses_what_the_leader_refuses,
    branches::a_branch_reads_through_and_goes_its_own_way,
    branches::a_branch_of_the_past_is_a_branch_of_the_past,
    branches::deletes_and_merges_in_a_branch_are_its_own,
    branches::branches_have_branches,
    branches::a_branch_is_a_table,
    branches::branches_are_dropped_before_their_parents,
    branches::what_no_branch_can_be_is_refused,
}

/// Cases that run at the same time: each has some shards, and three nodes on a small machine are to have tens of them.
const TOGETHER: usize = 12;

/// Runs every case, some at the same time: they have nothing in common but the cluster. Their tables are dropped before
/// the next ones run, so only one at a time may run on a cluster.
///
/// # Panics
/// Something is not as promised.
pub async fn run(client: &Client) {
    for cases in CASES.chunks(TOGETHER) {
        drop_tables(client).await;
        join_all(cases.iter().map(|case| (case.run)(client.clone()))).await;
    }
}

/// Drops what other cases have left.
async fn drop_tables(client: &Client) {
    let mut tables = ok(client.list_tables().await);
    // The newest first: a branch was made after its parent.
    tables.sort_by_key(|entry| std::cmp::Reverse(entry.table));
    for entry in tables.iter().filter(|entry| entry.name.contains(NAMES)) {
        ok(client.drop_table(&entry.name).await);
    }
}

/// Keys below "g", from "g" to "p", and from "p" on.
fn three_shards() -> TableOptions {
    TableOptions { split_points: vec!["g".into(), "p".into()], ..TableOptions::default() }
}

/// A new table of three shards.
async fn table(client: &Client, case: &str) -> Table {
    let name = unique(client, case).await;
    ok(client.create_table(&name, three_shards()).await);
    client.table(&name)
}

/// A name that no other run has used.
async fn unique(client: &Client, case: &str) -> String {
    format!("{NAMES}{case}_{}", ok(client.now().await).0)
}

#[track_caller]
fn ok<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("expected a result, found an error: {error}"),
    }
}

#[track_caller]
fn refused<T: Debug>(result: Result<T, Error>, kind: ErrorKind) -> Error {
    match result {
        Err(error) if error.kind() == kind => error,
        other => panic!("expected a refusal as {}, found {other:?}", kind.word()),
    }
}

/// The bytes of a key's value, `None` if it has none.
async fn value(table: &Table, key: &'static str) -> Option<Bytes> {
    ok(table.get(key).await).map(|found| found.value)
}

async fn assert_value(table: &Table, key: &'static str, expected: Option<&str>) {
    assert_eq!(value(table, key).await.as_deref(), expected.map(str::as_bytes), "the value of {key}");
}

/// The version of a key's value, which it must have.
async fn version(table: &Table, key: &'static str) -> Version {
    ok(table.get(key).await).map(|found| found.version).expect("the key has a value")
}
