//! The numbers of HTTP/2 and TCP that both ends share.

use std::time::Duration;

/// How much a peer may send on one stream before the reader has taken it, in bytes. Too small for the distance, and a
/// stream waits a round trip for each window: 4 MiB fill 1 Gbit/s over 32 ms.
pub(super) const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection together.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Largest HTTP/2 frame in bytes. Small ones cost calls, large ones let a stream hold up its neighbours.
pub(super) const HTTP2_FRAME_BYTES_MAX: u32 = 256 << 10;

/// How long a TCP connection may take to be there.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a peer that is connected may take to open a stream.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the dialling end asks whether the other is still there, and how long it waits for the answer. A process or a
/// network that fell silent is given up after both.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);
/// See [`PING_INTERVAL`].
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the accepting end asks: rarely, for it may have ten thousand idle clients, and those ask too.
pub(super) const SERVER_PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it waits for the answer.
pub(super) const SERVER_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection may be silent from its first moment on. Whoever speaks HTTP/2 says so at once.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting pauses after it failed, for want of file descriptors as a rule.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
