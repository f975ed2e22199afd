//! Random histories of a shard, judged by the machine and by a model that keeps all that was ever done.
//!
//! Transactions are prepared, decided, resolved and asked about in between, in every order that the protocol allows: some
//! have their anchor here, some elsewhere.
//!
//! Three replicas apply the same entries: one writes each entry by itself, one gathers entries in an overlay and has no
//! memo, one crashes, comes back, and collects garbage. All give the model's answers; the first two end with the same
//! bytes; the first and the third show the model's table at every version that may be read, at pins below the watermark, too.

mod model {
    pub(crate) mod history;
    pub(crate) mod reference;
    pub(crate) mod replica;
    pub(crate) mod table;
    pub(crate) mod txns;
    pub(crate) mod world;
}

use lentic_machine::{Command, invariants};
use lentic_types::{Epoch, Version};
use model::history::{Entry, crowd, history, restores};
use model::reference::Reference;
use model::replica::{Gathered, Plain, Unlucky};
use proptest::prelude::*;

fn run(history: &[Entry], ttl_ms: u64) {
    let mut reference = Reference::new(ttl_ms);
    let (mut plain, mut gathered, mut unlucky) = (Plain::new(ttl_ms), Gathered::new(ttl_ms), Unlucky::new(ttl_ms));
    for entry in history {
        let (requests, expected) = reference.enter(&entry.requests);
        let command = Command { epoch: Epoch(1), requests };
        // What replicas apply has been through the log.
        let command = Command::decode(&command.encode().into()).expect("an encoded command");
        assert_eq!(plain.apply(&command), expected, "{command:?}");
        assert_eq!(gathered.apply(&command, entry.is_written), expected, "{command:?}");
        assert_eq!(unlucky.apply(&command, &entry.luck), expected, "{command:?}");
        invariants::check(&plain.shard, &plain.store).expect("the invariants hold");
        invariants::check(&unlucky.shard, &unlucky.store).expect("the invariants hold");
        assert_eq!(plain.table_at(Version::MAX), reference.table_at(Version::MAX), "after {command:?}");
        for pin in reference.pins_below() {
            assert_eq!(unlucky.table_at(pin), reference.table_at(pin), "at pin {pin}, after {command:?}");
        }
    }
    gathered.write();
    for family in lentic_engine::Family::ALL {
        assert_eq!(plain.store.entries(family), gathered.store.entries(family), "{family:?}");
    }
    for version in reference.readable() {
        let expected = reference.table_at(version);
        assert_eq!(plain.table_at(version), expected, "at {version}");
        assert_eq!(unlucky.table_at(version), expected, "at {version}, after crashes and GC");
    }
}

proptest! {
    #[test]
    fn replicas_agree_with_each_other_and_with_the_model(history in history(40)) {
        run(&history, 0);
    }

    #[test]
    fn values_of_a_table_with_a_ttl_end(history in history(40), ttl_ms in 1u64..16) {
        run(&history, ttl_ms);
    }

    #[test]
    fn rollbacks_that_undo_others_leave_what_pins_read(history in restores(40)) {
        run(&history, 0);
    }

    #[test]
    fn transactions_that_share_keys_are_written_in_order(history in crowd(40)) {
        run(&history, 0);
    }
}
