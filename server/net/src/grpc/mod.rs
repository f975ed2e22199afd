//! Links as gRPC streams: one message a frame, encoded by whoever is on top.
//!
//! | file           | what it does                                                     |
//! |----------------|------------------------------------------------------------------|
//! | `dial.rs`      | [`GrpcNetwork`]: connections to others, one for each class       |
//! | `serve.rs`     | [`GrpcServer`]: one port for links and for other services        |
//! | `connections.rs` | accepts TCP connections, within bounds                         |
//! | `service.rs`   | the four streaming methods, and the limit on open links          |
//! | `pump.rs`      | between the stream of a call and the queues of a link            |
//! | `codec.rs`     | frames as they are                                               |
//! | `knobs.rs`     | the numbers of HTTP/2 and TCP                                    |

mod codec;
mod connections;
mod dial;
mod knobs;
mod pump;
mod serve;
mod service;

pub use dial::GrpcNetwork;
pub use serve::{GrpcServer, ServeError, ServerKnobs};
pub use tonic::service::Routes;
