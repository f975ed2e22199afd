//! What the node says of itself, as lines on standard error.
//!
//! The other crates only say what happens; here is decided what of it is shown, and how. Events have fields, so that a
//! machine need not parse sentences.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::config::{Format, Logging};

/// Logging was started before, by this process: it is started once, by whoever owns the process.
#[derive(Debug, thiserror::Error)]
#[error("logging was started before; start it once, where the process begins")]
pub struct LoggingError;

/// Shows events on standard error from now on, for the whole process.
///
/// # Errors
/// [`LoggingError`]: somebody has come first. What they have set stays.
pub fn start(options: &Logging) -> Result<(), LoggingError> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    subscriber(options, std::io::stderr, colours).try_init().map_err(|_| LoggingError)
}

/// What a level means: `info`, `info,lentic_raft=debug`. `None` if it means nothing.
pub(crate) fn filter(level: &str) -> Option<Targets> {
    let is_level = |text: &str| text.trim().parse::<LevelFilter>().is_ok() && !text.trim().is_empty();
    let is_part = |text: &str| {
        let name_is_good = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
        };
        // A number is a level, too, but nobody remembers which.
        text.split_once('=').map_or_else(
            || is_level(text) && !text.trim().bytes().all(|byte| byte.is_ascii_digit()),
            |(name, level)| name_is_good(name.trim()) && is_level(level),
        )
    };
    // What is laxly read as the name of a part would show nothing at all.
    level.split(',').all(is_part).then(|| level.replace(' ', "").parse().ok()).flatten()
}

fn subscriber<W>(options: &Logging, writer: W, colours: bool) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(options.level.as_str()).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let layer = match options.format {
        Format::Text => fmt::layer().with_writer(writer).with_ansi(colours).boxed(),
        Format::Json => fmt::layer().with_writer(writer).json().flatten_event(true).boxed(),
    };
    Registry::default().with(layer.with_filter(filter))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info};

    use super::*;
    use crate::config::{Argument, Config, Sources};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: &str, level: &str) -> String {
        let set = |key: &str, value: &str| Argument { name: "test".into(), key: key.into(), value: value.into() };
        let arguments = vec![set("logging.format", format), set("logging.level", level)];
        let config = Config::load(&Sources { arguments, ..Sources::default() }).unwrap();
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(&config.logging, move || writer.clone(), false), || {
            info!(shard = 7, "split \"here\"");
            debug!(target: "lentic_raft", term = 3, "vote");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_for_people() {
        let text = logged("text", "info");
        assert!(text.contains(" INFO lentic_serve::logging::tests: split \"here\" shard=7\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_is_for_machines() {
        let text = logged("json", "info,lentic_raft=debug");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["shard"], &lines[0]["message"]), (&7.into(), &"split \"here\"".into()));
        assert_eq!((&lines[1]["term"], &lines[1]["level"]), (&3.into(), &"DEBUG".into()));
        assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn levels_are_checked() {
        for level in
            ["off", "error", "WARN", "info", "debug", "trace", "info,lentic_raft=debug", "warn, lentic_net::grpc=off"]
        {
            assert!(filter(level).is_some(), "{level}");
        }
        for level in
            ["", "loud", "3", "info,", "lentic_raft", "info,lentic_raft=loud", "=debug", "a b=info", "info;debug"]
        {
            assert!(filter(level).is_none(), "{level}");
        }
        assert_eq!(logged("text", "off"), "");
    }
}
