//! The checker of transactions, tried on histories whose verdict is known.

mod corpus;
mod exhaustive;
mod generate;
mod serial;
