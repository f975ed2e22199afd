//! Where the nodes of the cluster are spoken to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lentic_net::Address;

/// Most addresses to remember.
const ADDRESSES_MAX: usize = 1_024;

/// Known addresses, and which of them is asked for what any node can answer: one until it fails.
#[derive(Debug)]
pub(crate) struct Nodes(Mutex<State>);

#[derive(Debug)]
struct State {
    addresses: Vec<Address>,
    chosen: usize,
}

impl Nodes {
    /// The seeds, which are at least one. The choice begins at one of them, by `random`, to spread clients over nodes.
    pub(crate) fn new(seeds: Vec<Address>, random: u64) -> Self {
        let chosen = usize::try_from(random % seeds.len().max(1) as u64).expect("below the number of seeds");
        Self(Mutex::new(State { addresses: seeds, chosen }))
    }

    /// Adds what is not known yet.
    pub(crate) fn learn(&self, addresses: impl Iterator<Item = Address>) {
        let mut state = self.state();
        for address in addresses {
            if !address.0.is_empty() && state.addresses.len() < ADDRESSES_MAX && !state.addresses.contains(&address) {
                state.addresses.push(address);
            }
        }
    }

    /// Whom to ask.
    pub(crate) fn chosen(&self) -> Address {
        let state = self.state();
        state.addresses[state.chosen].clone()
    }

    /// `failed` was asked in vain: the next is chosen, unless another caller has changed the choice already.
    pub(crate) fn avoid(&self, failed: &Address) {
        let mut state = self.state();
        if state.addresses[state.chosen] == *failed {
            state.chosen = (state.chosen + 1) % state.addresses.len();
        }
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.state().addresses.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_goes_round_and_moves_once_for_many() {
        let nodes = Nodes::new(vec!["a".into(), "b".into()], 1);
        nodes.learn(["c".into(), "a".into(), "".into()].into_iter());
        assert_eq!((nodes.len(), nodes.chosen()), (3, "b".into()));
        nodes.avoid(&"b".into());
        nodes.avoid(&"b".into());
        assert_eq!(nodes.chosen(), "c".into());
        nodes.avoid(&"c".into());
        assert_eq!(nodes.chosen(), "a".into());
        nodes.learn((0..2_000).map(|number| Address::from(&*format!("n{number}"))));
        assert_eq!(nodes.len(), ADDRESSES_MAX);
    }
}
