//! Proves on this machine that what is done to links has its effect.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::network::{Kind, Network};
use super::rule::{End, Rule};

/// How long an answer may take that is to come.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long one is waited for that is not to come.
const SILENCE: Duration = Duration::from_millis(250);
/// What a link is delayed by.
const DELAY: Duration = Duration::from_millis(60);
/// What a delayed answer may take beyond that, on a busy machine.
const DELAY_SLACK: Duration = Duration::from_millis(500);
/// How many of 100 packets are lost, and how many must have been lost before it is believed.
const LOSS_PERCENT: u8 = 30;
const LOST_MIN: u64 = 3;
/// How many answers it may take until then.
const ANSWERS_MAX: usize = 100;
/// How many answers a figure is the median of.
const ANSWERS: usize = 7;

impl Network {
    /// Proves, before any node runs, that a cut link stops connections, that a delayed one is as late as was asked, and
    /// that a lossy one loses: between the first two nodes, and where clients have links, between them and node 0.
    /// Returns what was measured, in words. All links are healthy afterwards.
    ///
    /// # Errors
    /// What was not so, and what was measured instead.
    pub async fn probe(&self) -> Result<Vec<String>, String> {
        let mut pairs = Vec::new();
        if self.nodes() > 1 {
            pairs.extend([(End::Node(0), 1), (End::Node(1), 0)]);
        }
        if *self.kind() == Kind::Namespaces {
            pairs.push((End::Clients, 0));
        }
        let mut echoes = JoinSet::new();
        for node in 0..self.nodes().min(2) {
            for port in [self.ports().data, self.ports().control] {
                let listener = self.listen(node, port).map_err(|error| format!("node {node}, port {port}: {error}"))?;
                echoes.spawn(echo(listener));
            }
        }
        let mut lines = vec![format!("network: {}", self.kind())];
        for (from, to) in pairs {
            let found = self.probe_pair(from, to, &mut lines).await;
            self.heal();
            found.map_err(|error| format!("{from} to node {to}: {error}"))?;
        }
        Ok(lines)
    }

    async fn probe_pair(&self, from: End, to: usize, lines: &mut Vec<String>) -> Result<(), String> {
        let mut open = self.open(from, to).await?;
        let healthy = median(&mut open).await?;
        lines.push(format!("{from} to node {to}: an answer takes {healthy:.1?}"));
        for (cut_from, cut_to) in [(from, End::Node(to)), (End::Node(to), from)] {
            lines.push(self.probe_cut(from, to, (cut_from, cut_to)).await?);
            answer(&mut open).await.map_err(|error| format!("after a cut was healed: {error}"))?;
        }
        lines.push(self.probe_delay(from, to, healthy, &mut open).await?);
        if *self.kind() == Kind::Namespaces {
            lines.push(self.probe_loss(from, to, &mut open).await?);
        }
        Ok(())
    }

    /// A connection that has had an answer.
    async fn open(&self, from: End, to: usize) -> Result<TcpStream, String> {
        let connected = timeout(ANSWER_WITHIN, self.connect(from, to, self.ports().data)).await;
        let mut stream = connected.map_err(io::Error::from).flatten().map_err(|error| format!("connect: {error}"))?;
        answer(&mut stream).await?;
        Ok(stream)
    }

    async fn probe_cut(&self, from: End, to: usize, cut: (End, End)) -> Result<String, String> {
        let before = self.counts(cut.0, cut.1).cut;
        self.set(cut.0, cut.1, Rule { cut: true, ..Rule::default() }).map_err(|error| error.to_string())?;
        if timeout(SILENCE, self.open(from, to)).await.is_ok_and(|opened| opened.is_ok()) {
            return Err(format!("cut from {} to {}, and a new connection had an answer", cut.0, cut.1));
        }
        let stopped = self.counts(cut.0, cut.1).cut - before;
        if stopped == 0 {
            return Err(format!("cut from {} to {}, and nothing was stopped there", cut.0, cut.1));
        }
        let control = async {
            let mut stream = self.connect(from, to, self.ports().control).await?;
            answer(&mut stream).await.map_err(io::Error::other)
        };
        let control = timeout(ANSWER_WITHIN, control).await.map_err(io::Error::from).flatten();
        control.map_err(|error| format!("the control port cannot be reached across a cut: {error}"))?;
        self.heal();
        Ok(format!(
            "{from} to node {to}: cut from {} to {}, no connection in {SILENCE:?}, {stopped} stopped",
            cut.0, cut.1
        ))
    }

    async fn probe_delay(
        &self,
        from: End,
        to: usize,
        healthy: Duration,
        open: &mut TcpStream,
    ) -> Result<String, String> {
        let rule = Rule { delay: DELAY, ..Rule::default() };
        self.set(from, End::Node(to), rule).map_err(|error| error.to_string())?;
        let delayed = median(open).await?;
        self.heal();
        if !(DELAY..DELAY + healthy + DELAY_SLACK).contains(&delayed) {
            return Err(format!("delayed by {DELAY:?}, and an answer takes {delayed:.1?}; without it {healthy:.1?}"));
        }
        Ok(format!("{from} to node {to}: delayed by {DELAY:?}, an answer takes {delayed:.1?}"))
    }

    async fn probe_loss(&self, from: End, to: usize, open: &mut TcpStream) -> Result<String, String> {
        let rule = Rule { loss_percent: LOSS_PERCENT, ..Rule::default() };
        let before = self.counts(from, End::Node(to));
        self.set(from, End::Node(to), rule).map_err(|error| error.to_string())?;
        let mut answers = 0;
        loop {
            let counts = self.counts(from, End::Node(to));
            let (lost, passed) = (counts.lost - before.lost, counts.passed - before.passed);
            if lost >= LOST_MIN {
                self.heal();
                let of = lost + passed;
                return Ok(format!("{from} to node {to}: {lost} of {of} packets lost, and all {answers} answers came"));
            }
            if answers == ANSWERS_MAX {
                return Err(format!(
                    "{LOSS_PERCENT} of 100 packets are to be lost, but {lost} were, and {passed} passed"
                ));
            }
            answer(open).await?;
            answers += 1;
        }
    }
}

/// How long an answer takes: the median.
async fn median(stream: &mut TcpStream) -> Result<Duration, String> {
    let mut all = Vec::new();
    for _ in 0..ANSWERS {
        all.push(answer(stream).await?);
    }
    all.sort_unstable();
    Ok(all[ANSWERS / 2])
}

/// Sends a byte and waits for it to come back. Returns how long that took.
async fn answer(stream: &mut TcpStream) -> Result<Duration, String> {
    let start = Instant::now();
    let exchange = async {
        stream.write_all(&[7]).await?;
        stream.read_exact(&mut [0]).await
    };
    let exchanged = timeout(ANSWER_WITHIN, exchange).await.map_err(io::Error::from).flatten();
    exchanged.map_err(|error| format!("no answer: {error}"))?;
    Ok(start.elapsed())
}

/// Sends back what is sent, until it is dropped.
async fn echo(listener: TcpListener) {
    let mut callers = JoinSet::new();
    while let Ok((mut caller, _)) = listener.accept().await {
        callers.spawn(async move {
            let (mut from, mut to) = caller.split();
            // An error is the end of a caller.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}
