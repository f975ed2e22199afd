//! Client ids and their numbers: what makes a retry of a write safe.
//!
//! Each write gets a key (client id, sequence) that it keeps however often it is sent. A client id has at most
//! [`WINDOW_MAX`](crate::window::WINDOW_MAX) writes in flight, so a busy client takes several.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lentic_proto::v1::pipe_response::Response;
use lentic_proto::v1::{IssueClientRequest, NowRequest, RequestKey, pipe_request};
use tokio::sync::Notify;

use crate::call::{self, unexpected};
use crate::core::Core;
use crate::error::Error;
use crate::flight::Flight;
use crate::progress::{Effect, Progress};
use crate::window::Window;

/// A key is made with a version no older than this: a shard forgets answers after 15 minutes of use, or sooner when it has
/// too many, and takes older keys for those of forgotten requests.
const VERSION_AGE_MS_MAX: u64 = 30_000;

/// The client ids of a client.
#[derive(Debug)]
pub(crate) struct Sessions {
    sessions_max: usize,
    sessions: Mutex<Vec<Session>>,
    issuing: Flight,
    freshening: Flight,
    /// Wakes one who waits for room.
    room: Notify,
}

#[derive(Debug)]
struct Session {
    client: u64,
    window: Window,
}

/// The right to send one write, as often as it takes. Dropped, it is acknowledged.
#[derive(Debug)]
pub(crate) struct Ticket {
    core: Arc<Core>,
    session: usize,
    pub(crate) key: RequestKey,
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize) -> Self {
        let (issuing, freshening) = (Flight::default(), Flight::default());
        Self { sessions_max, sessions: Mutex::default(), issuing, freshening, room: Notify::new() }
    }

    /// A key for a new write; waits for the cluster or for room if it must.
    pub(crate) async fn ticket(&self, core: &Arc<Core>, progress: &mut Progress) -> Result<Ticket, Error> {
        while core.newest.version().0 != 0 && core.newest.age_ms() > VERSION_AGE_MS_MAX {
            let freshened = self.freshening.join(&core.tasks, || freshen(core.clone())).await;
            progress.note_or_stop(freshened)?;
        }
        loop {
            let room = self.room.notified();
            let issued = {
                let mut sessions = self.sessions();
                if let Some(ticket) = open(&mut sessions, core) {
                    drop(sessions);
                    // There may be room for more than one of those who wait.
                    self.room.notify_one();
                    return Ok(ticket);
                }
                sessions.len()
            };
            if issued < self.sessions_max {
                let issued = self.issuing.join(&core.tasks, || issue(core.clone())).await;
                progress.note_or_stop(issued)?;
            } else {
                room.await;
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(sessions: &mut [Session], core: &Arc<Core>) -> Option<Ticket> {
    sessions.iter_mut().enumerate().find_map(|(place, session)| {
        let (sequence, acked_below) = session.window.open()?;
        let issued = core.newest.version().0;
        Some(Ticket {
            core: core.clone(),
            session: place,
            key: RequestKey { client: session.client, sequence, acked_below, issued },
        })
    })
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let sessions = &self.core.sessions;
        sessions.sessions()[self.session].window.close(self.key.sequence);
        sessions.room.notify_one();
    }
}

/// Takes another client id from the cluster.
async fn issue(core: Arc<Core>) -> Result<(), Error> {
    let request = pipe_request::Request::IssueClient(IssueClientRequest {});
    match call::any(&core, request, Progress::new(Effect::Reads, &core.options)).await? {
        Response::IssueClient(issued) => {
            core.newest.hear(issued.version);
            let session = Session { client: issued.client, window: Window::new() };
            core.sessions.sessions().push(session);
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

/// Asks the cluster for a new version.
pub(crate) async fn freshen(core: Arc<Core>) -> Result<(), Error> {
    now(&core, Progress::new(Effect::Reads, &core.options)).await.map(drop)
}

/// A version above that of every write acknowledged before.
pub(crate) async fn now(core: &Arc<Core>, progress: Progress) -> Result<u64, Error> {
    match call::any(core, pipe_request::Request::Now(NowRequest {}), progress).await? {
        Response::Now(now) => {
            core.newest.hear(now.version);
            Ok(now.version)
        }
        _ => Err(unexpected()),
    }
}
