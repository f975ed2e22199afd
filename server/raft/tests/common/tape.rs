//! A machine that writes down every command it applies, and forgets at a crash what it had not flushed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lentic_raft::{Committed, Export, Fault, FileInfo, Import, Machine, Transfer};
use lentic_types::Index;

/// Bytes of one file of an export.
const FILE_BYTES: usize = 100_000;

/// What a store would hold: all that is applied, and what of it is flushed.
#[derive(Clone, Default)]
pub struct TapeDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    live: Contents,
    flushed: Contents,
    /// Flush at once, as if every apply was durable.
    pub eager: bool,
    flush_requests: u64,
    exports: u64,
    fault: Option<String>,
}

/// The commands by index, the applied index, and what replication keeps.
#[derive(Clone, Default, PartialEq, Eq)]
struct Contents {
    commands: Vec<(u64, Bytes)>,
    applied: u64,
    replica: Option<Bytes>,
}

impl TapeDisk {
    /// The machine as a process opens it.
    pub fn open(&self) -> Tape {
        Tape(self.clone())
    }

    /// What was not flushed is gone.
    pub fn crash(&self) {
        let mut state = self.0.lock().unwrap();
        state.live = state.flushed.clone();
    }

    /// Makes durable what is applied.
    pub fn flush(&self) {
        let mut state = self.0.lock().unwrap();
        state.flushed = state.live.clone();
    }

    /// Every command applied, in order.
    pub fn commands(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.live.commands.iter().map(|(_, command)| String::from_utf8(command.to_vec()).unwrap()).collect()
    }

    pub fn indexed(&self) -> Vec<(u64, Bytes)> {
        self.0.lock().unwrap().live.commands.clone()
    }

    pub fn flush_requests(&self) -> u64 {
        self.0.lock().unwrap().flush_requests
    }

    pub fn exports(&self) -> u64 {
        self.0.lock().unwrap().exports
    }

    /// From now on, applying fails.
    pub fn fail(&self, why: &str) {
        self.0.lock().unwrap().fault = Some(why.to_owned());
    }

    /// Takes the store back to nothing, as an operator would by mistake.
    pub fn wipe(&self) {
        *self.0.lock().unwrap() = State::default();
    }
}

pub struct Tape(TapeDisk);

impl Machine for Tape {
    /// How many commands there are.
    type Reply = usize;

    fn replica(&self) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.0.lock().unwrap().live.replica.clone())
    }

    fn apply(&mut self, entries: Vec<Committed>, replica: Bytes) -> Result<Vec<usize>, Fault> {
        let mut state = self.0.0.lock().unwrap();
        if let Some(fault) = &state.fault {
            return Err(Fault::new(fault.clone()));
        }
        let mut replies = Vec::new();
        for entry in entries {
            assert_eq!(entry.index.0, state.live.applied + 1, "entries come in order, without gaps");
            state.live.applied = entry.index.0;
            if let Some(command) = entry.command {
                state.live.commands.push((entry.index.0, command));
                replies.push(state.live.commands.len());
            }
        }
        state.live.replica = Some(replica);
        Ok(replies)
    }

    fn durable(&self) -> Result<Index, Fault> {
        Ok(Index(self.0.0.lock().unwrap().flushed.applied))
    }

    fn request_flush(&self) -> Result<(), Fault> {
        self.0.0.lock().unwrap().flush_requests += 1;
        Ok(())
    }

    fn transfer(&self) -> Arc<dyn Transfer> {
        Arc::new(self.0.clone())
    }

    fn reload(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Contents {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        put(&self.applied.to_le_bytes());
        put(self.replica.as_ref().unwrap());
        for (index, command) in &self.commands {
            put(&index.to_le_bytes());
            put(command);
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Self {
        let mut take = || {
            let (length, rest) = bytes.split_first_chunk::<8>()?;
            let (taken, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            bytes = rest;
            Some(Bytes::copy_from_slice(taken))
        };
        let number = |bytes: Bytes| u64::from_le_bytes(bytes[..].try_into().unwrap());
        let applied = number(take().unwrap());
        let replica = take();
        let mut commands = Vec::new();
        while let Some(index) = take() {
            commands.push((number(index), take().unwrap()));
        }
        Self { commands, applied, replica }
    }
}

struct TapeExport {
    replica: Bytes,
    files: Vec<FileInfo>,
    contents: Vec<Vec<u8>>,
}

impl Transfer for TapeDisk {
    fn export(&self) -> Result<Box<dyn Export>, Fault> {
        let mut state = self.0.lock().unwrap();
        state.exports += 1;
        let live = state.live.clone();
        let contents: Vec<Vec<u8>> = live.encode().chunks(FILE_BYTES).map(<[u8]>::to_vec).collect();
        let info = |(number, bytes): (usize, &Vec<u8>)| FileInfo {
            name: format!("tape-{number}"),
            bytes: bytes.len() as u64,
            crc32: crc32fast::hash(bytes),
        };
        let files = contents.iter().enumerate().map(info).collect();
        Ok(Box::new(TapeExport { replica: live.replica.unwrap(), files, contents }))
    }

    fn import(&self) -> Result<Box<dyn Import>, Fault> {
        Ok(Box::new(TapeImport { disk: self.clone(), received: Vec::new() }))
    }
}

impl Export for TapeExport {
    fn replica(&self) -> Bytes {
        self.replica.clone()
    }

    fn files(&self) -> &[FileInfo] {
        &self.files
    }

    fn read(&self, file: usize, offset: u64, bytes_max: usize) -> Result<Bytes, Fault> {
        let rest = &self.contents[file][usize::try_from(offset).unwrap()..];
        Ok(Bytes::copy_from_slice(&rest[..rest.len().min(bytes_max)]))
    }
}

struct TapeImport {
    disk: TapeDisk,
    received: Vec<u8>,
}

impl Import for TapeImport {
    fn write(&mut self, file: &FileInfo, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let number: usize = file.name.strip_prefix("tape-").unwrap().parse().unwrap();
        assert_eq!(self.received.len() as u64, (number * FILE_BYTES) as u64 + offset, "parts come in order");
        self.received.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, files: &[FileInfo]) -> Result<(), Fault> {
        let mut rest = &self.received[..];
        for file in files {
            let (bytes, after) = rest.split_at(usize::try_from(file.bytes).unwrap());
            if crc32fast::hash(bytes) != file.crc32 {
                return Err(Fault::new(format!("{} is not what was sent", file.name)));
            }
            rest = after;
        }
        let contents = Contents::decode(&self.received);
        let mut state = self.disk.0.lock().unwrap();
        (state.live, state.flushed) = (contents.clone(), contents);
        Ok(())
    }
}
