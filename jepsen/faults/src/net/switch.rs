//! Carries packets between devices.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::links::{Fate, Links, Table, Way};
use super::packet::Packet;
use super::rule::End;
use super::space::PACKET_BYTES_MAX;

/// How much may be under way. Beyond it packets are dropped, as a router's queue would.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What a packet takes beside its bytes, at most.
const QUEUE_ENTRY_BYTES: usize = 256;
/// How many packets are read from a device before the next one has its turn.
const TURN_PACKETS_MAX: usize = 32;

/// A device and whose it is.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) end: End,
    pub(crate) address: Ipv4Addr,
    pub(crate) device: File,
}

/// A thread that carries packets. The devices end with it.
#[derive(Debug)]
pub(crate) struct Switch {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Starts to carry packets between `ports`. Those of TCP from or to `control_port` always pass at once.
    pub(crate) fn start(ports: Vec<Port>, control_port: u16, links: Arc<Links>) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let mut carrier =
            Carrier { ports, control_port, links, queue: BTreeMap::new(), queue_bytes: 0, queued_ever: 0 };
        let thread = thread::Builder::new().name("switch".to_owned()).spawn(move || carrier.carry(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so, and nobody can use the links since.
            let _ = thread.join();
        }
    }
}

/// A packet under way.
struct Queued {
    way: Way,
    port: usize,
    fate: Fate,
    bytes: Box<[u8]>,
}

struct Carrier {
    ports: Vec<Port>,
    control_port: u16,
    links: Arc<Links>,
    /// By when it is due, then by when it came.
    queue: BTreeMap<(Instant, u64), Queued>,
    queue_bytes: usize,
    queued_ever: u64,
}

impl Carrier {
    fn carry(&mut self, stopped: &PipeReader) {
        let links = Arc::clone(&self.links);
        let mut buffer = vec![0; usize::from(PACKET_BYTES_MAX)];
        while let Some(ready) = self.wait(stopped) {
            let now = Instant::now();
            self.hand_over_due(&links, now);
            for port in ready {
                self.turn(&links, port, now, &mut buffer);
            }
        }
    }

    /// Waits until devices have packets, which it returns, or a packet is due. None if all is to end.
    fn wait(&self, stopped: &PipeReader) -> Option<Vec<usize>> {
        let mut waiting: Vec<_> = self.ports.iter().map(|port| PollFd::new(&port.device, PollFlags::IN)).collect();
        waiting.push(PollFd::new(stopped, PollFlags::IN));
        let timeout = self.queue.first_key_value().map(|((due, _), _)| {
            let wait = due.saturating_duration_since(Instant::now());
            Timespec::try_from(wait).expect("no packet is delayed for an age of the world")
        });
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the switch cannot wait for packets: {error}"),
        }
        let is_stopped = waiting.pop().is_some_and(|stopped| !stopped.revents().is_empty());
        let ready = waiting.iter().enumerate().filter(|(_, device)| !device.revents().is_empty());
        (!is_stopped).then(|| ready.map(|(port, _)| port).collect())
    }

    /// Reads some packets of a device.
    fn turn(&mut self, links: &Links, from: usize, now: Instant, buffer: &mut [u8]) {
        for _ in 0..TURN_PACKETS_MAX {
            match (&self.ports[from].device).read(buffer) {
                Ok(length) => self.take(&mut links.lock(), from, now, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // With the lock, so that nobody can use the links from now on.
                    let _table = links.lock();
                    panic!("the device of {} cannot be read: {error}", self.ports[from].end);
                }
            }
        }
    }

    /// Takes a packet: hands it over, keeps it until it is due, or drops it.
    fn take(&mut self, table: &mut Table, from: usize, now: Instant, bytes: &[u8]) {
        // What is not for a place here has nowhere to go: IPv6, say, which devices speak by themselves.
        let Some(packet) = Packet::read(bytes) else { return };
        let Some(to) = self.ports.iter().position(|port| port.address == packet.to) else { return };
        if packet.ports.is_some_and(|ports| ports.contains(&self.control_port)) {
            // If the kernel does not take it, TCP sends it again.
            let _ = self.write(to, bytes);
            return;
        }
        let way = Way { from: self.ports[from].end, to: self.ports[to].end };
        let fate = table.judge(way, now);
        if fate.due <= now {
            self.hand_over(table, way, to, fate, bytes);
            return;
        }
        let total_bytes = self.queue_bytes + bytes.len() + QUEUE_ENTRY_BYTES;
        if total_bytes > QUEUE_BYTES_MAX {
            table.overflowed(way);
            return;
        }
        table.delayed(way);
        self.queue_bytes = total_bytes;
        self.queued_ever += 1;
        let queued = Queued { way, port: to, fate, bytes: bytes.into() };
        self.queue.insert((fate.due, self.queued_ever), queued);
    }

    /// Hands over what is due `now`.
    fn hand_over_due(&mut self, links: &Links, now: Instant) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let queued = entry.remove();
            self.queue_bytes -= queued.bytes.len() + QUEUE_ENTRY_BYTES;
            let mut table = links.lock();
            if table.may_pass(queued.way) {
                self.hand_over(&mut table, queued.way, queued.port, queued.fate, &queued.bytes);
            }
        }
    }

    /// Hands over as many copies of a packet as it has.
    fn hand_over(&self, table: &mut Table, way: Way, to: usize, fate: Fate, bytes: &[u8]) {
        for _ in 0..fate.copies {
            match self.write(to, bytes) {
                Ok(()) => table.passed(way, fate.number),
                Err(_) => table.overflowed(way),
            }
        }
    }

    /// Writes a packet to a device, which takes all of it or nothing.
    fn write(&self, to: usize, bytes: &[u8]) -> io::Result<()> {
        (&self.ports[to].device).write_all(bytes)
    }
}
