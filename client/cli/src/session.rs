//! What a command works with: the cluster, and the way to stdout.

use std::time::Duration;

use clap::Args;
use lentic_client::{Client, ClientBuilder, ErrorKind};

use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{Format, Printer};
use crate::text::Span;

/// The address of a node that was started without arguments.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7420";

/// The environment variable that names nodes.
pub(crate) const SERVER_VARIABLE: &str = "LENTIC_SERVER";

/// How to reach the cluster, and how to answer.
#[derive(Clone, Debug, Args)]
pub(crate) struct SessionArgs {
    /// Address of a node; one is enough, more help while nodes are down
    #[arg(
        long,
        global = true,
        env = SERVER_VARIABLE,
        hide_env_values = true,
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = DEFAULT_SERVER,
        value_parser = address,
        help_heading = "Global options"
    )]
    pub(crate) server: Vec<String>,
    /// How long an operation may take, retries among it
    #[arg(long, global = true, value_name = "SPAN", default_value = "30s", help_heading = "Global options")]
    pub(crate) deadline: Span,
    /// How to answer
    #[arg(long, short, global = true, value_name = "FORMAT", default_value = "human", help_heading = "Global options")]
    pub(crate) output: Format,
    /// Show no progress on stderr
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

/// An address with its scheme: `host:port` is enough to write.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let wrong = || format!("expected an address such as {DEFAULT_SERVER}, found {text:?}");
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
    if scheme != "http" || !is_host || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(wrong());
    }
    Ok(format!("http://{host}:{port}"))
}

/// What a command works with.
pub(crate) struct Session {
    pub(crate) args: SessionArgs,
    pub(crate) printer: Printer,
}

impl Session {
    /// A client of the cluster.
    ///
    /// # Errors
    /// No node answered.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        self.client_with(Client::builder(), &self.args.server).await
    }

    /// A client of another cluster, with nodes at these addresses.
    ///
    /// # Errors
    /// No node answered.
    pub(crate) async fn client_of(&self, servers: &[String]) -> Result<Client, Failure> {
        self.client_with(Client::builder(), servers).await
    }

    /// A client that lets writes wait for each other for `linger`, to go as one request.
    pub(crate) async fn lingering(&self, linger: Duration) -> Result<Client, Failure> {
        self.client_with(Client::builder().linger(linger), &self.args.server).await
    }

    async fn client_with(&self, builder: ClientBuilder, servers: &[String]) -> Result<Client, Failure> {
        let deadline = self.args.deadline.duration();
        if deadline.is_zero() {
            return Err(Failure::usage("--deadline is 0, and nothing can be done in no time"));
        }
        let connecting = builder.deadline(deadline).connect(servers);
        match tokio::time::timeout(deadline, connecting).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) if error.kind() == ErrorKind::Throttled => Err(not_reached(servers, error.message())),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(not_reached(servers, &format!("no node answered within {}", self.args.deadline))),
        }
    }
}

fn not_reached(servers: &[String], message: &str) -> Failure {
    let tried = servers.join(", ");
    let help = if servers == [DEFAULT_SERVER] {
        format!("start a node with `lentic serve`, or name one with --server or LENTIC_SERVER; tried {tried}")
    } else {
        format!("check --server or LENTIC_SERVER, and whether the nodes are up; tried {tried}")
    };
    Failure::not_reached(message, help)
}

/// How a command ended, or why it failed.
pub(crate) type Outcome = Result<Ending, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_or_refused() {
        for text in ["http://a:1", "a:1", "http://a:1/"] {
            assert_eq!(address(text).as_deref(), Ok("http://a:1"), "{text}");
        }
        assert_eq!(address("[::1]:7420").as_deref(), Ok("http://[::1]:7420"));
        for text in ["", "a", ":1", "a:", "a:0", "a:70000", "https://a:1", "a/b:1", "u@a:1", "http://", "a b:1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
