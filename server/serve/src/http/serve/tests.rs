//! The pages over connections in memory, whose clock is the test's, and over sockets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::http::Family;

#[derive(Default)]
struct Fake {
    faults: Mutex<Vec<String>>,
    reasons: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

impl Probe for Fake {
    fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn not_ready(&self) -> Vec<String> {
        self.reasons.lock().unwrap().clone()
    }

    fn metrics(&self) -> Vec<Family> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        vec![Family::counter("lentic_test_count", "Tests.", f64::from(u32::try_from(asked).unwrap()))]
    }
}

struct Connection {
    stream: DuplexStream,
    task: tokio::task::JoinHandle<()>,
    _stop: watch::Sender<()>,
}

fn connect(probe: &Arc<Fake>, buffer_bytes: usize) -> Connection {
    let (stream, served) = duplex(buffer_bytes);
    let (stop, stopped) = watch::channel(());
    let serving = serve_connection(served, Arc::clone(probe) as _, stopped);
    // A clock that is the test's makes a connection that never ends a failure at once.
    let task = tokio::spawn(async { timeout(2 * CONNECTION_TIMEOUT, serving).await.expect("a connection ends") });
    Connection { stream, task, _stop: stop }
}

/// All that is said until the connection ends.
async fn ask(probe: &Arc<Fake>, request: &[u8]) -> String {
    let mut connection = connect(probe, 64 << 10);
    connection.stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    connection.stream.read_to_end(&mut answer).await.unwrap();
    connection.task.await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(probe: &Arc<Fake>, path: &str) -> (u16, String) {
    let answer = ask(probe, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("cache-control: no-store"), "{head}");
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test(start_paused = true)]
async fn pages_tell_what_the_node_says() {
    let probe = Arc::new(Fake::default());
    assert_eq!(get(&probe, "/healthz").await, (200, "{\"faults\":[],\"healthy\":true}\n".into()));
    assert_eq!(get(&probe, "/readyz?verbose").await, (200, "{\"ready\":true,\"reasons\":[]}\n".into()));
    *probe.faults.lock().unwrap() = vec!["the log: \"fsync\" failed".into()];
    *probe.reasons.lock().unwrap() = vec!["no leader".into(), "not registered".into()];
    assert_eq!(
        get(&probe, "/healthz").await,
        (503, "{\"faults\":[\"the log: \\\"fsync\\\" failed\"],\"healthy\":false}\n".into())
    );
    let expected = "{\"ready\":false,\"reasons\":[\"no leader\",\"not registered\"]}\n";
    assert_eq!(get(&probe, "/readyz").await, (503, expected.into()));
    let expected = "# HELP lentic_test_count Tests.\n# TYPE lentic_test_count counter\nlentic_test_count 0\n";
    let (status, metrics) = get(&probe, "/metrics").await;
    assert!(status == 200 && metrics.starts_with(expected), "{metrics}");
    let (status, front) = get(&probe, "/").await;
    assert!(status == 200 && front.contains("/metrics") && front.contains("/readyz"), "{front}");
    assert_eq!(get(&probe, "/metrics/").await.0, 404);
    assert_eq!(get(&probe, "/../etc/passwd").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn pages_are_only_read() {
    let probe = Arc::new(Fake::default());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"] {
        let request =
            format!("{method} /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let answer = ask(&probe, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
    }
    let answer = ask(&probe, b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn one_connection_takes_many_requests() {
    let probe = Arc::new(Fake::default());
    let mut connection = connect(&probe, 64 << 10);
    for asked in 0..3 {
        connection.stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 32 << 10];
        let bytes = connection.stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer[..bytes].to_vec()).unwrap();
        assert!(answer.contains(&format!("lentic_test_count {asked}\n")), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_answered_or_cut() {
    let probe = Arc::new(Fake::default());
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX + 1));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n",
        many.as_bytes(),
        long.as_bytes(),
    ] {
        let answer = ask(&probe, request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_cut() {
    let probe = Arc::new(Fake::default());
    for start in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let began = Instant::now();
        let mut connection = connect(&probe, 64 << 10);
        connection.stream.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        connection.stream.read_to_end(&mut answer).await.unwrap();
        connection.task.await.unwrap();
        assert!(began.elapsed() <= HEAD_TIMEOUT, "after {:?}: {start:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_cut() {
    let probe = Arc::new(Fake::default());
    let began = Instant::now();
    // No room for the answer.
    let mut connection = connect(&probe, 64);
    connection.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    connection.task.await.unwrap();
    assert!(began.elapsed() <= CONNECTION_TIMEOUT + END_TIMEOUT, "after {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_never_stops_asking_is_sent_away() {
    let probe = Arc::new(Fake::default());
    let mut connection = connect(&probe, 64 << 10);
    let mut requests = 0;
    let mut answer = vec![0; 4 << 10];
    while connection.stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
        if connection.stream.read(&mut answer).await.unwrap() == 0 {
            break;
        }
        requests += 1;
        assert!(requests < 100, "a connection ends some time");
        sleep(HEAD_TIMEOUT / 2).await;
    }
    assert!(requests > 5, "{requests}");
}

async fn get_from(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4 << 10];
    let bytes = stream.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..bytes].to_vec()).unwrap()
}

#[tokio::test]
async fn connections_are_counted_and_end_with_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, Arc::new(Fake::default()), 2, async {
        let _ = stopped.await;
    }));
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    assert!(get_from(&mut first).await.starts_with("HTTP/1.1 200"));
    assert!(get_from(&mut second).await.starts_with("HTTP/1.1 200"));
    // A third one waits for a place, and gets the first's.
    let third = tokio::spawn(async move {
        let mut third = TcpStream::connect(address).await.unwrap();
        let answer = get_from(&mut third).await;
        (third, answer)
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!third.is_finished());
    assert!(get_from(&mut second).await.starts_with("HTTP/1.1 200"), "those with a place go on");
    drop(first);
    let (mut third, answer) = third.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
    stop.send(()).unwrap();
    timeout(END_TIMEOUT, server).await.expect("idle connections hold nothing up").unwrap();
    for stream in [&mut second, &mut third] {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "idle connections end at once");
    }
    assert!(TcpStream::connect(address).await.is_err());
}
