//! A flush under way, beside the events.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use lentic_types::KeyRange;
use tokio::task::JoinHandle;

use super::layer::{Change, Layer};
use super::options::StateOptions;
use crate::batch::{self, WriteBatch};
use crate::error::Error;
use crate::owners::{Checkpoint, Fence};
use crate::table::Table;

/// Where changes go, and by whose right.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) table: Table,
    pub(super) range: KeyRange,
    pub(super) fence: Fence,
}

/// A checkpoint that was asked for by its number, and what has come of it.
pub(super) type Made = (u64, Result<Checkpoint, Error>);

/// Changes on their way to the table. Dropped, it stops where it is.
pub(super) struct Flight {
    layer: Arc<Layer>,
    sent: JoinHandle<Result<Option<Made>, Error>>,
}

impl Flight {
    /// Sends all changes of a layer, and then makes a checkpoint with this number, if there is one.
    pub(super) fn begin(target: Target, layer: Layer, options: &StateOptions, checkpoint: Option<u64>) -> Self {
        let layer = Arc::new(layer);
        let (sending, options) = (Arc::clone(&layer), options.clone());
        let sent = lentic_runtime::spawn(async move {
            send(&target, &sending, &options).await?;
            drop(sending);
            let Some(number) = checkpoint else { return Ok(None) };
            let made = target.table.checkpoint(&target.range, target.fence, number).await;
            Ok(Some((number, made)))
        });
        Self { layer, sent }
    }

    /// The changes that are under way.
    pub(super) fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.sent.is_finished()
    }

    /// Waits for its end. To stop waiting changes nothing.
    pub(super) async fn wait(&mut self) -> Result<Option<Made>, Error> {
        match (&mut self.sent).await {
            Ok(sent) => sent,
            Err(error) => Err(Error::unknown(format!("the flush did not come to its end: {error}"))),
        }
    }

    /// What is there once [`wait`](Self::wait) has returned.
    pub(super) fn into_layer(mut self) -> Layer {
        std::mem::take(Arc::get_mut(&mut self.layer).expect("who sent it has ended"))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.sent.abort();
    }
}

async fn send(target: &Target, layer: &Layer, options: &StateOptions) -> Result<(), Error> {
    let mut changes = layer.iter().peekable();
    let batches = std::iter::from_fn(|| {
        changes.peek()?;
        let (mut batch, mut bytes) = (WriteBatch::new().fence(target.fence), 0);
        while batch.operations.len() < options.batch_operations && bytes < options.batch_bytes {
            let Some((key, change)) = changes.next() else { break };
            let operation = match change {
                Change::Put(value) => batch::put(key.clone(), Bytes::copy_from_slice(value), None),
                Change::Delete => batch::delete(key.clone()),
                Change::Merge(operator, operand) => {
                    batch::merge(key.clone(), *operator, Bytes::copy_from_slice(operand), None)
                }
            };
            bytes += batch::bytes_of(&operation);
            batch.operations.push(operation);
        }
        Some(batch)
    });
    // Each key is in one of them, so their order does not matter.
    let writes = stream::iter(batches.map(|batch| target.table.write_in_parts(batch)));
    writes.buffer_unordered(options.batches_in_flight).try_for_each(|_| async { Ok(()) }).await
}
