//! After all, every replica holds the same: what each node reads as a leader.

use std::time::Duration;

use lentic_client::{Client, ClusterStatus, KeyRange, NodeId, ShardDescription, Version};

use crate::cluster::Cluster;
use crate::wait::until;

/// How long a node may take to lead every shard.
const LEADS_WITHIN: Duration = Duration::from_secs(60);
/// How long replicas may take to come to where they shall be.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// Has each replica of every shard of the cluster lead it in turn, and reads all of `table` at one version, whole and paged.
/// All must read the same. Says how much that was.
///
/// # Panics
/// If two replicas differ, or one does not come to lead.
pub(crate) async fn read_alike(cluster: &Cluster, client: &Client, table: &str) -> String {
    let status = settled(cluster, client).await;
    let at = client.now().await.expect("a cluster that is well tells the version of now");
    let turns = status.shards.iter().map(|(_, shard)| shard.replicas.len()).max().unwrap_or(0);
    let mut first: Option<(usize, u64)> = None;
    for turn in 0..turns {
        let heir = |shard: &ShardDescription| {
            let mut replicas = shard.replicas.clone();
            replicas.sort_unstable();
            replicas[turn % replicas.len()]
        };
        lead(cluster, client, &format!("replica {} leads, of every shard", turn + 1), heir).await;
        for page_bytes in [1 << 20, 4 << 10] {
            let found = read(client, table, at, page_bytes).await;
            let expected = *first.get_or_insert(found);
            assert!(
                found == expected,
                "replicas {} read {found:?} (rows, digest) at {at}, and others {expected:?}",
                turn + 1
            );
        }
    }
    let (rows, _) = first.unwrap_or_default();
    let shards = client.describe_table(table).await.expect("the table is there").shards.len();
    format!("the same {rows} rows in {shards} shards, read whole and in pages")
}

/// Waits until no replica moves; from now on none does by itself.
pub(crate) async fn settled(cluster: &Cluster, client: &Client) -> ClusterStatus {
    client.set_balance(false).await.expect("the balance is switched off");
    until("replicas that are where they shall be", SETTLES_WITHIN, || async {
        let status = cluster.status().await?;
        if status.moves.is_empty() { Ok(status) } else { Err(format!("{:?} move", status.moves)) }
    })
    .await
}

/// Makes a node lead every shard; from now on leaders stay where they are.
pub(crate) async fn lead_all(cluster: &Cluster, client: &Client, place: usize) {
    client.set_balance(false).await.expect("the balance of leaders is switched off");
    let id = cluster.id(place);
    lead(cluster, client, &format!("{} leads every shard", cluster.nodes[place].name()), |_| id).await;
}

/// Waits until each shard is led by its heir.
async fn lead(cluster: &Cluster, client: &Client, what: &str, heir: impl Fn(&ShardDescription) -> NodeId) {
    until(what, LEADS_WITHIN, || async {
        let status = cluster.status().await?;
        let others = status.shards.iter().map(|(_, shard)| shard).filter(|shard| shard.leader != Some(heir(shard)));
        let others: Vec<_> = others.map(|shard| (shard.shard, heir(shard))).collect();
        for (shard, heir) in &others {
            // It may not be ready yet, or have been asked already.
            let _ = client.transfer_leader(*shard, Some(*heir)).await;
        }
        if others.is_empty() { Ok(()) } else { Err(format!("others lead these, not who should: {others:?}")) }
    })
    .await;
}

/// How many rows there are at a version, and a digest of all of them.
async fn read(client: &Client, table: &str, at: Version, page_bytes: u32) -> (usize, u64) {
    let mut scan = client.table(table).scan(KeyRange::all()).at(at).page_bytes(page_bytes).start();
    let (mut rows, mut digest) = (0, FNV_BASIS);
    while let Some(row) = scan.next().await {
        let row = row.expect("a cluster that is well can be read");
        rows += 1;
        for part in [&row.key[..], &row.value[..], &row.version.0.to_be_bytes()] {
            digest = fnv(digest, &part.len().to_be_bytes());
            digest = fnv(digest, part);
        }
    }
    (rows, digest)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which is enough to tell two replicas apart.
fn fnv(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
