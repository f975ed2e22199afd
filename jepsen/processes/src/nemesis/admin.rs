//! What operators ask for.

use std::time::Duration;

use super::struck::{Arena, Memory};
use crate::wait::until;

/// How long a leader may take to hand over.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(20);

/// Asks every leader to hand over to some other replica, and waits until each shard has another leader.
pub(super) async fn strike(arena: &mut Arena<'_>) -> Memory {
    let before = arena.cluster.leaders().await;
    let status = until("the replicas of all shards", HANDS_OVER_WITHIN, || arena.cluster.status()).await;
    let mut asked = 0;
    for (_, shard) in &status.shards {
        let heirs: Vec<_> = shard.replicas.iter().filter(|node| Some(**node) != shard.leader).collect();
        let to = *heirs[arena.dice.place(heirs.len())];
        // It may be on its way elsewhere already: who leads then is what counts.
        let _ = arena.admin.transfer_leader(shard.shard, Some(to)).await;
        asked += 1;
    }
    let moved = until("leaders that were asked to hand over", HANDS_OVER_WITHIN, || async {
        let now = arena.cluster.leaders_now().await?;
        let moved = before.shards.iter().filter(|(shard, leader)| now.shards.get(shard) != Some(leader)).count();
        if moved > 0 { Ok(moved) } else { Err("all lead on".to_owned()) }
    })
    .await;
    Memory::Over(format!("{asked} leaders asked to hand over in {}, {moved} have", arena.table))
}
