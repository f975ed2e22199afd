//! How far long work is: a bar on a terminal, else a line every few seconds. On stderr, for stdout is for answers.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::session::Session;
use crate::text::{Span, count, quantity_of_bytes, rate};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);
/// How often a bar is drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// How far long work is, on stderr.
pub(crate) struct Progress {
    shown: Shown,
    began: Instant,
    next: Instant,
}

enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// How far some work is.
pub(crate) trait Step {
    /// How much is done, and of how much if that is known.
    fn done(&self) -> (u64, Option<u64>);

    /// The same for people, after so much time.
    fn words(&self, elapsed: Duration) -> String;
}

impl Progress {
    /// Progress as the session wants it.
    pub(crate) fn new(session: &Session) -> Self {
        let shown = if session.args.quiet {
            Shown::Nothing
        } else if std::io::stderr().is_terminal() {
            Shown::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            Shown::Lines
        };
        let began = Instant::now();
        Self { shown, began, next: began }
    }

    /// How long it has been at work.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows how far it is, if it is time to.
    pub(crate) fn show(&mut self, step: &impl Step) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        match &self.shown {
            Shown::Bar(bar) => {
                self.next = now + DRAW_EVERY;
                let (done, total) = step.done();
                let style = if total.is_some() { "{wide_bar} {msg}" } else { "{spinner} {msg}" };
                bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
                bar.set_length(total.unwrap_or(0));
                bar.set_position(done);
                bar.set_message(step.words(self.elapsed()));
            }
            Shown::Lines => {
                // The first line comes after a while: what is done soon needs none.
                if self.next > self.began {
                    let line = step.words(self.elapsed()) + "\n";
                    drop(std::io::stderr().write_all(line.as_bytes()));
                }
                self.next = now + LINE_EVERY;
            }
            Shown::Nothing => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// How far rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowsStep {
    /// Rows that are done.
    pub(crate) rows: u64,
    /// Bytes that are done: of the file, or of rows.
    pub(crate) bytes: u64,
    /// Of how many bytes, if that is known.
    pub(crate) bytes_total: Option<u64>,
}

impl Step for RowsStep {
    fn done(&self) -> (u64, Option<u64>) {
        (self.bytes, self.bytes_total)
    }

    /// `412,000 rows, 81,000 rows/s, 12.3 MiB/s, 41 %, 1m3s left`
    fn words(&self, elapsed: Duration) -> String {
        let speed = quantity_of_bytes(self.bytes / elapsed.as_secs().max(1));
        let rows_rate = rate(self.rows, elapsed.as_secs_f64());
        let mut words = format!("{} rows, {rows_rate} rows/s, {speed}/s", count(self.rows));
        if let Some(total) = self.bytes_total.filter(|total| *total > 0) {
            let done = self.bytes.min(total);
            words += &format!(", {} %", u128::from(done) * 100 / u128::from(total));
            if done > 0 {
                let left_ms = elapsed.as_millis() * u128::from(total - done) / u128::from(done);
                let left_s = u64::try_from(left_ms / 1_000).unwrap_or(u64::MAX / 1_000);
                words += &format!(", {} left", Span::from_ms(left_s * 1_000));
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_tells_rate_and_time_left() {
        let step = RowsStep { rows: 412_000, bytes: 40 << 20, bytes_total: Some(100 << 20) };
        assert_eq!(step.words(Duration::from_secs(10)), "412,000 rows, 41,200 rows/s, 4.0 MiB/s, 40 %, 15s left");
        let unknown = RowsStep { bytes_total: None, ..step };
        assert_eq!(unknown.words(Duration::from_secs(10)), "412,000 rows, 41,200 rows/s, 4.0 MiB/s");
        let odd = RowsStep { rows: 0, bytes: 9, bytes_total: Some(5) };
        assert_eq!(odd.words(Duration::ZERO), "0 rows, 0.00 rows/s, 9 B/s, 100 %, 0s left");
        assert_eq!(
            RowsStep { bytes_total: Some(0), ..RowsStep::default() }.words(Duration::ZERO),
            "0 rows, 0.00 rows/s, 0 B/s"
        );
    }
}
