//! After all, every replica holds the same: what each node reads as the leader of everything.

use std::time::Duration;

use lentic_client::{Client, KeyRange, Version};

use crate::cluster::Cluster;
use crate::wait::until;

/// How long a node may take to lead every shard.
const LEADS_WITHIN: Duration = Duration::from_secs(60);

/// Has each node in turn lead every shard of `table`, and reads all of it at one version, whole and paged. All must read
/// the same. Says how much that was.
///
/// # Panics
/// If two nodes differ, or one does not come to lead.
pub(crate) async fn read_alike(cluster: &Cluster, client: &Client, table: &str) -> String {
    let at = client.now().await.expect("a cluster that is well tells the version of now");
    let mut first: Option<(usize, u64)> = None;
    for place in 0..cluster.nodes.len() {
        lead_all(cluster, client, place).await;
        for page_bytes in [1 << 20, 4 << 10] {
            let found = read(client, table, at, page_bytes).await;
            let name = cluster.nodes[place].name();
            let expected = *first.get_or_insert(found);
            assert!(found == expected, "{name} reads {found:?} (rows, digest) at {at}, and another read {expected:?}");
        }
    }
    let (rows, _) = first.unwrap_or_default();
    format!("the same {rows} rows, read whole and in pages")
}

/// Makes a node lead every shard; from now on leaders stay where they are.
pub(crate) async fn lead_all(cluster: &Cluster, client: &Client, place: usize) {
    client.set_balance(false).await.expect("the balance of leaders is switched off");
    let id = cluster.id(place);
    let what = format!("{} leads every shard", cluster.nodes[place].name());
    until(&what, LEADS_WITHIN, || async {
        let leaders = cluster.leaders_now().await?;
        let others: Vec<_> = leaders.shards.iter().filter(|(_, leader)| **leader != place).collect();
        for (shard, _) in &others {
            // It may not be ready yet, or have been asked already.
            let _ = client.transfer_leader(**shard, Some(id)).await;
        }
        if others.is_empty() { Ok(()) } else { Err(format!("others lead {others:?}")) }
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
