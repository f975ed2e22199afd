//! How fast a link over gRPC is: both ends in this process, over the loopback.
//!
//! ```text
//! cargo run --release -p lentic-net --example link_speed [IDLE_LINKS]
//! ```

#![allow(clippy::print_stdout, reason = "figures are its output")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lentic_net::grpc::{GrpcNetwork, GrpcServer};
use lentic_net::{Accept, Address, BoxFuture, Class, Link, Network as _};
use tokio::net::TcpListener;

/// Answers each frame of a pipe with itself; counts those of other classes, and answers a frame of one byte.
struct Peer;

impl Accept for Peer {
    fn accept(&self, class: Class, mut link: Link) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut frames = Vec::new();
            while link.receiver.recv_many(&mut frames, 256).await > 0 {
                for frame in frames.drain(..).filter(|frame| class == Class::Pipe || frame.len() == 1) {
                    if link.sender.send(frame).await.is_err() {
                        return;
                    }
                }
            }
        })
    }
}

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let address = Address::from(&*format!("http://127.0.0.1:{port}"));
    tokio::spawn(GrpcServer::new(Arc::new(Peer)).serve(listener, std::future::pending()));
    for _ in 0..2 {
        one_way(&address, 64, 3_000_000).await;
        one_way(&address, 1_024, 1_000_000).await;
        one_way(&address, 256 << 10, 8_000).await;
        one_way(&address, 4 << 20, 500).await;
        there_and_back(&address, 64, 1_000_000).await;
        one_by_one(&address, 20_000).await;
    }
    if let Some(count) = std::env::args().nth(1).and_then(|count| count.parse().ok()) {
        idle(&address, count).await;
    }
}

async fn one_way(address: &Address, bytes: usize, count: usize) {
    let mut link = GrpcNetwork::new().dial(address, Class::Append).await.expect("it is served");
    let frame = Bytes::from(vec![7; bytes]);
    let started = Instant::now();
    for _ in 0..count {
        link.sender.send(frame.clone()).await.expect("it lives");
    }
    link.sender.send(Bytes::from_static(b"!")).await.expect("it lives");
    link.receiver.recv().await.expect("it lives");
    let seconds = started.elapsed().as_secs_f64();
    let (rate, mib) = (count as f64 / seconds, (count * bytes) as f64 / seconds / f64::from(1 << 20));
    println!("one way, {bytes} bytes: {rate:.0} frames/s, {mib:.0} MiB/s");
}

async fn there_and_back(address: &Address, bytes: usize, count: usize) {
    let link = GrpcNetwork::new().dial(address, Class::Pipe).await.expect("it is served");
    let frame = Bytes::from(vec![7; bytes]);
    let started = Instant::now();
    let sender = link.sender;
    tokio::spawn(async move {
        for _ in 0..count {
            sender.send(frame.clone()).await.expect("it lives");
        }
    });
    let (mut receiver, mut frames, mut received) = (link.receiver, Vec::new(), 0);
    while received < count {
        received += receiver.recv_many(&mut frames, 256).await;
        frames.clear();
    }
    println!("there and back, {bytes} bytes: {:.0} frames/s", count as f64 / started.elapsed().as_secs_f64());
}

async fn one_by_one(address: &Address, count: usize) {
    let mut link = GrpcNetwork::new().dial(address, Class::Pipe).await.expect("it is served");
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        link.sender.send(Bytes::from_static(b"ask")).await.expect("it lives");
        link.receiver.recv().await.expect("it lives");
        took.push(started.elapsed());
    }
    took.sort();
    println!("one by one: p50 {:?}, p99 {:?}", took[count / 2], took[count / 100 * 99]);
}

async fn idle(address: &Address, count: u64) {
    let before = resident_kib();
    let mut links = Vec::new();
    for _ in 0..count {
        // A network of its own is a connection of its own.
        let network = GrpcNetwork::new();
        links.push((network.dial(address, Class::Pipe).await.expect("it is served"), network));
    }
    let kib = resident_kib() - before;
    println!("{count} idle connections: {} KiB each, both ends together", kib / count.max(1));
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
}
