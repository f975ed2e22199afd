//! The gateway: what serving a client takes.

use std::sync::Arc;

use lentic_engine::Portable;

use super::answers::Budget;
use super::calls::Calls;
use super::forward::Forwarder;
use super::routes::Routes;
use crate::balance::Balance;
use crate::disk::Disk;
use crate::meta::service::MetaService;
use crate::moves::Divided;
use crate::options::NodeOptions;
use crate::shards::Shards;
use crate::txn::Txns;

/// Serves clients. Clones are the same gateway.
pub(crate) struct Gateway<S: Portable> {
    pub(crate) shards: Arc<Shards<S>>,
    pub(crate) meta: Arc<MetaService<S>>,
    pub(crate) routes: Arc<Routes<S>>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) txns: Arc<Txns>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) balance: Arc<Balance>,
    pub(crate) divided: Arc<Divided>,
    pub(crate) options: NodeOptions,
}

impl<S: Portable> Clone for Gateway<S> {
    fn clone(&self) -> Self {
        Self {
            shards: Arc::clone(&self.shards),
            meta: Arc::clone(&self.meta),
            routes: Arc::clone(&self.routes),
            forwarder: Arc::clone(&self.forwarder),
            budget: Arc::clone(&self.budget),
            calls: Arc::clone(&self.calls),
            txns: Arc::clone(&self.txns),
            disk: Arc::clone(&self.disk),
            balance: Arc::clone(&self.balance),
            divided: Arc::clone(&self.divided),
            options: self.options,
        }
    }
}
