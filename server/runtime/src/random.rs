//! Random numbers that a seed decides.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::scope::Scope;

/// A source of seeds. Clones draw from the same source.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<SmallRng>>);

impl Random {
    /// A source that is a function of `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    /// A source that nobody can foresee.
    #[must_use]
    pub fn from_system() -> Self {
        Self::seeded(rand::random())
    }

    /// The next seed.
    #[must_use]
    pub fn next_seed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// A generator for the caller's own use: from the scope's seed in a scope, from the system outside of one. Not for
/// secrets.
#[must_use]
pub fn rng() -> SmallRng {
    SmallRng::seed_from_u64(Scope::current().map_or_else(rand::random, |scope| scope.random().next_seed()))
}

/// A random number, from where [`rng`] draws.
#[must_use]
pub fn random() -> u64 {
    rng().next_u64()
}
