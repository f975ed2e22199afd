//! Has transactions that somebody waits for decided soon.
//!
//! What a client was told of is recorded at the anchor when it finds others to ride with. Who wants a key of it before
//! does not have to wait for that: its shard tells the anchor's leader.

use lentic_engine::Portable;
use lentic_machine::shard::TxnRef;
use lentic_proto::v1::{self, pipe_request};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::gateway::{Gateway, Lane, Whom};

/// Transactions that wait to be asked for; more are not needed so soon.
pub(crate) const WANTED_MAX: usize = 64;
/// How long telling another node may take.
const WITHIN: Duration = Duration::from_millis(200);

/// Tells the leaders of anchors what is waited for, until the node ends.
pub(crate) async fn hurry<S: Portable>(gateway: &Gateway<S>, mut wanted: mpsc::Receiver<TxnRef>) {
    while let Some(txn) = wanted.recv().await {
        let catalog = gateway.meta.catalog();
        let Some(place) = catalog.shard_for(txn.anchor.table, &txn.anchor.key) else { continue };
        if let Some(replica) = gateway.shards.get(place.shard).filter(|replica| replica.serves()) {
            replica.hurry();
        } else if let Some(address) = gateway.leader_of(place, Whom::default()) {
            let route = Some(v1::Route::to(place.shard, place.epoch));
            let request = pipe_request::Request::Step(v1::StepRequest { route, step: bytes::Bytes::new() });
            // It goes on without, a little later.
            let _ = gateway.forwarder.ask(&address, Lane::NeverWaits, request, Instant::now() + WITHIN).await;
        }
    }
}
