//! The meta group's state machine as replication sees it.

use std::sync::Arc;

use bytes::Bytes;
use lentic_engine::keys::sys::{self, SysKind};
use lentic_engine::{Batch, Family, Portable, Span};
use lentic_machine::meta::{self, Catalog, Meta, MetaCommand, MetaOutcome, Pins};
use lentic_raft::{Committed, Fault, Machine, Transfer};
use lentic_types::{ClusterId, Index, Version};
use tokio::sync::watch;

use crate::failure::{StoreFailure, fault};
use crate::transfer::StoreTransfer;

/// What the meta group has applied on this node.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) window_end: Version,
    pub(crate) pins: Arc<Pins>,
    pub(crate) is_balanced: bool,
}

impl Shown {
    fn of(meta: &Meta) -> Self {
        Self {
            catalog: meta.catalog(),
            window_end: meta.window_end(),
            pins: meta.pins(),
            is_balanced: meta.is_balanced(),
        }
    }
}

/// The meta group over a store.
pub(crate) struct MetaMachine<S> {
    store: Arc<S>,
    failure: StoreFailure,
    meta: Meta,
    shown: watch::Sender<Shown>,
}

impl<S: Portable> MetaMachine<S> {
    /// The meta group as the store has it, or one before its first entry.
    pub(crate) fn open(store: Arc<S>, failure: StoreFailure, cluster: ClusterId) -> Result<Self, Fault> {
        let meta = match Meta::load(&*store).map_err(fault)? {
            Some(meta) => meta,
            None => {
                let mut batch = Batch::new();
                Meta::create(&mut batch, cluster);
                store.write(&batch).map_err(fault)?;
                load(&*store)?
            }
        };
        let (shown, _) = watch::channel(Shown::of(&meta));
        Ok(Self { store, failure, meta, shown })
    }

    /// What is applied, from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    fn show(&self) {
        self.shown.send_replace(Shown::of(&self.meta));
    }
}

fn load<S: Portable>(store: &S) -> Result<Meta, Fault> {
    Meta::load(store).map_err(fault)?.ok_or_else(|| Fault::new("the store holds no meta group"))
}

impl<S: Portable> Machine for MetaMachine<S> {
    type Reply = MetaOutcome;

    fn replica(&self) -> Result<Option<Bytes>, Fault> {
        let key = sys::key(meta::GROUP, SysKind::Replica, &[]);
        Ok(self.store.get(Family::Sys, &key).map_err(fault)?.map(Bytes::from))
    }

    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<Self::Reply>, Fault> {
        let (mut batch, mut replies) = (Batch::new(), Vec::with_capacity(entries.len()));
        for entry in &entries {
            let command = entry.command.as_ref().map(|bytes| MetaCommand::decode(bytes)).transpose().map_err(fault)?;
            let applied = self.meta.apply(entry.index, command.as_ref()).map_err(fault)?;
            batch.append(&applied.batch);
            if command.is_some() {
                replies.push(applied.reply);
            }
        }
        batch.put(Family::Sys, &sys::key(meta::GROUP, SysKind::Replica, &[]), &replica);
        self.store.write(&batch).map_err(|error| self.failure.fault(&error))?;
        self.show();
        Ok(replies)
    }

    fn durable(&self) -> Result<Index, Fault> {
        self.store.durable_applied(meta::GROUP).map_err(|error| self.failure.fault(&error))
    }

    fn request_flush(&self) -> Result<(), Fault> {
        self.store.request_flush().map_err(|error| self.failure.fault(&error))
    }

    fn transfer(&self) -> Arc<dyn Transfer> {
        let (store, spans) = (Arc::clone(&self.store), vec![Span::of_group(meta::GROUP)]);
        // Nobody reads this group from the store.
        Arc::new(StoreTransfer::of_spans(meta::GROUP, store, self.failure.clone(), spans))
    }

    fn reload(&mut self) -> Result<(), Fault> {
        self.meta = load(&*self.store)?;
        self.show();
        Ok(())
    }
}
