//! Which table continues which, and whose groups its shards ride in.
//!
//! ```text
//!   orders      shard 2  ..m     shard 3  m..        groups 2 and 3
//!     trial     shard 5  ..m     shard 6  m..        ride in them: 5 in 2, 6 in 3
//!       again   shard 8  ..m     shard 9  m..        and so do 8 and 9
//! ```
//!
//! A branch is cut where its parent is, so whose group a shard rides in needs no row: it is the shard of the table at the root
//! that begins at the same key.

use lentic_types::{ShardId, TableId};

use super::catalog::{Catalog, Origin, ShardPlace};

impl Catalog {
    /// The branches of a table, but for those of its branches.
    pub fn branches_of(&self, table: TableId) -> impl Iterator<Item = TableId> {
        self.branches.iter().filter(move |(_, origin)| origin.table == table).map(|(branch, _)| *branch)
    }

    /// What a table continues, and what that one does, to the root; empty if it is no branch.
    #[must_use]
    pub fn origins_of(&self, table: TableId) -> Vec<Origin> {
        let mut origins: Vec<Origin> = Vec::new();
        let mut of = table;
        while let Some(origin) = self.branches.get(&of) {
            // Ids rise, and no table continues itself.
            if origin.table >= of {
                break;
            }
            origins.push(*origin);
            of = origin.table;
        }
        origins
    }

    /// The table that a branch continues in the end; itself, if it is none.
    #[must_use]
    pub fn root_of(&self, table: TableId) -> TableId {
        self.origins_of(table).last().map_or(table, |origin| origin.table)
    }

    /// The shard whose group a shard has: its own, unless it is a branch's.
    #[must_use]
    pub fn home_of(&self, place: &ShardPlace) -> Option<ShardId> {
        let root = self.root_of(place.table);
        if root == place.table {
            return Some(place.shard);
        }
        self.shard_for(root, place.range.start()).map(|home| home.shard)
    }

    /// The shard that a branch's shard is a branch of.
    #[must_use]
    pub fn parent_of(&self, place: &ShardPlace) -> Option<&ShardPlace> {
        self.shard_for(self.branches.get(&place.table)?.table, place.range.start())
    }

    /// The shards that ride in the group of a shard.
    pub fn riders_of(&self, home: ShardId) -> impl Iterator<Item = &ShardPlace> {
        let of_branches = self.branches.keys().flat_map(|branch| self.shards_of(*branch));
        of_branches.filter(move |place| place.shard != home && self.home_of(place) == Some(home))
    }

    /// Whether each branch is of a table that is there, and has its shards where those of that table are.
    pub(super) fn branches_are_sound(&self) -> bool {
        let is_sound = |(branch, origin): (&TableId, &Origin)| {
            let lies_over = |place: &ShardPlace| {
                self.parent_of(place)
                    .is_some_and(|parent| parent.range == place.range && parent.replicas == place.replicas)
            };
            origin.table < *branch && self.tables.contains_key(branch) && self.shards_of(*branch).all(lies_over)
        };
        self.branches.iter().all(is_sound)
    }
}
