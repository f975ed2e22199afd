//! The rules of the house: what the compiler and clippy cannot know.
//!
//! Each rule is a function from a [`Tree`] in memory to findings, and carries tests with small bad trees that it
//! must catch. One file holds one group of rules:
//!
//! | file          | rules                                                                   |
//! |---------------|-------------------------------------------------------------------------|
//! | `edges.rs`    | which crate of the workspace may use which                              |
//! | `owners.rs`   | which crate may name which foreign crate                                |
//! | `shape.rs`    | sizes of files, module docs, front pages without logic, manifests       |
//! | `words.rs`    | words that have no place in code, or in any file                        |
//! | `pure.rs`     | pure crates name no clock, file, thread or network                      |
//! | `documents.rs`| links resolve, decisions are numbered and listed, named paths exist     |
//! | `freight.rs`  | no large files, no binary ones                                          |
//!
//! `tree.rs`, `source.rs` and `manifest.rs` read; `rules.rs` runs all of it.

mod documents;
mod edges;
mod freight;
mod manifest;
mod owners;
mod pure;
mod rules;
mod shape;
mod source;
mod tree;
mod words;

pub(crate) use edges::EDGES;
pub(crate) use manifest::Workspace;
pub(crate) use owners::OWNERS;
pub(crate) use rules::run;
pub(crate) use tree::Tree;
