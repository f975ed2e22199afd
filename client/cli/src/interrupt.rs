//! Ctrl-C and SIGTERM, for work that ends in order.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::ending::Ending;
use crate::failure::Failure;

/// Tells that the work was asked to end. The second time the process ends where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let refused = |error| Failure::usage(format!("signals cannot be listened to: {error}"));
        let mut interrupts = signal(SignalKind::interrupt()).map_err(refused)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(refused)?;
        let (tell, told) = watch::channel(false);
        lentic_runtime::spawn(async move {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if tell.send_replace(true) {
                    std::process::exit(i32::from(Ending::Interrupted as u8));
                }
            }
        });
        Ok(Self(told))
    }

    /// Waits until the work was asked to end.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|is_asked| *is_asked).await.is_err() {
            // The listener ends the process or lives as long as the runtime.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the work was asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}
