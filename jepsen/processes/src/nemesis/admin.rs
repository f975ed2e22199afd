//! What operators ask for.

use std::time::Duration;

use super::struck::{Arena, Memory};
use crate::wait::until;

/// How long a leader may take to hand over.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(20);

/// Asks every leader to hand over to some other node, and waits until each shard has another leader.
pub(super) async fn strike(arena: &mut Arena<'_>) -> Memory {
    let before = arena.cluster.leaders().await;
    let count = arena.cluster.nodes.len();
    let mut asked = 0;
    for (shard, leader) in &before.shards {
        let to = (leader + 1 + arena.dice.place(count - 1)) % count;
        // It may be on its way elsewhere already: who leads then is what counts.
        let _ = arena.admin.transfer_leader(*shard, Some(arena.cluster.id(to))).await;
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
