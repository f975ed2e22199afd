//! Golden scripts: what a log does, step by step, as text. `UPDATE_GOLDENFILES=1` writes them anew; then read the diff.
//!
//! The log lives on a [`SimFs`] and the script is its writer: nothing becomes durable before `step` or `run`.
//! Completions print as `done <label> ok`, in the order in which they come.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use goldenscript::{Command, Context, Runner};
use lentic_log::{Completion, Log, LogOptions, SimFs, SimOp, Writer};
use lentic_types::{ClusterId, GroupId, Index};
use std::error::Error;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Script {
    fs: SimFs,
    log: Option<Log>,
    writer: Option<Writer>,
    /// What completions and hooks have said since the last command.
    said: Arc<Mutex<String>>,
}

/// The arguments of a command, taken in order.
struct Arguments<'a>(goldenscript::ArgumentConsumer<'a>);

impl Arguments<'_> {
    fn word(&mut self) -> Result<String> {
        Ok(self.0.next_pos().ok_or("an argument is missing")?.to_owned())
    }

    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.next_pos().map(str::to_owned)).collect()
    }

    fn number(&mut self) -> Result<u64> {
        Ok(self.word()?.parse()?)
    }

    fn group(&mut self) -> Result<GroupId> {
        Ok(GroupId(self.word()?.trim_start_matches('g').parse()?))
    }

    fn key(&mut self, name: &str, default: u64) -> Result<u64> {
        Ok(self.0.take_key(name).map_or(Ok(default), str::parse)?)
    }
}

/// `a@1000` is a thousand times a.
fn data(word: &str) -> Bytes {
    match word.split_once('@').and_then(|(text, times)| Some((text, times.parse().ok()?))) {
        Some((text, times)) => text.repeat(times).into(),
        None => word.to_owned().into(),
    }
}

fn show(data: &[u8]) -> String {
    match data.len() {
        0..=20 => String::from_utf8_lossy(data).into_owned(),
        length => format!("{}...({length} bytes)", String::from_utf8_lossy(&data[..3])),
    }
}

fn op(word: &str) -> Result<SimOp> {
    Ok(match word {
        "read" => SimOp::Read,
        "write" => SimOp::Write,
        "sync" => SimOp::Sync,
        "allocate" => SimOp::Allocate,
        "directory" => SimOp::Directory,
        _ => return Err("unknown operation".into()),
    })
}

impl Script {
    fn log(&self) -> Result<&Log> {
        Ok(self.log.as_ref().ok_or("the log is not open")?)
    }

    fn done(&self, label: String) -> Completion {
        let said = Arc::clone(&self.said);
        Box::new(move |result| {
            let outcome = result.map_or_else(|poisoned| format!("failed: {poisoned}"), |()| "ok".to_owned());
            writeln!(said.lock().unwrap(), "done {label} {outcome}").unwrap();
        })
    }

    fn open(&mut self, arguments: &mut Arguments<'_>) -> Result<()> {
        let defaults = LogOptions::default();
        let size = |value: u64| usize::try_from(value).unwrap();
        let options = LogOptions {
            segment_bytes: u32::try_from(arguments.key("segment", 65_536)?)?,
            bytes_max: arguments.key("max", 1 << 20)?,
            queue_bytes_max: size(arguments.key("queue", defaults.queue_bytes_max as u64)?),
            gather_bytes_max: size(arguments.key("gather", defaults.gather_bytes_max as u64)?),
            cache_bytes_max: size(arguments.key("cache", defaults.cache_bytes_max as u64)?),
        };
        let cluster = ClusterId([u8::try_from(arguments.key("cluster", 1)?)?; 16]);
        let said = Arc::clone(&self.said);
        let on_pressure = Box::new(move |holders: &[lentic_log::Holder]| {
            for holder in holders {
                let lentic_log::Holder { group, through, overdue } = holder;
                writeln!(said.lock().unwrap(), "pressure: {group} up to {through}, overdue up to {overdue}").unwrap();
            }
        });
        let (log, writer) = Log::open(Arc::new(self.fs.clone()), cluster, options, on_pressure)?;
        (self.log, self.writer) = (Some(log), Some(writer));
        Ok(())
    }

    /// Ends the process: with the power (a seed), or without.
    fn end(&mut self, seed: Option<u64>) {
        self.fs = seed.map_or_else(|| self.fs.kill(), |seed| self.fs.crash(seed));
        (self.log, self.writer) = (None, None);
    }

    fn state(&self) -> Result<String> {
        let mut out = String::new();
        for group in self.log()?.groups()? {
            let state = self.log()?.state(group)?.ok_or("a listed group exists")?;
            write!(out, "{group}:")?;
            if let Some((first, last)) = state.range {
                write!(out, " entries {first}..={last}")?;
            }
            if let Some(saved) = state.saved {
                write!(out, " saved {}", show(&saved))?;
            }
            if let Some(purged) = state.purged {
                write!(out, " purged {} {}", purged.through, show(&purged.marker))?;
            }
            out.push('\n');
        }
        Ok(out)
    }

    fn change_file(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut bytes = self.fs.bytes(name).ok_or("no such file")?;
        change(&mut bytes);
        self.fs.put(name, bytes);
        Ok(())
    }

    fn change(&mut self, name: &str, arguments: &mut Arguments<'_>) -> Result<()> {
        let group = arguments.group()?;
        let log = self.log()?;
        match name {
            "append" => {
                let first = arguments.number()?;
                let entries: Vec<Bytes> = arguments.rest().iter().map(|word| data(word)).collect();
                log.append(group, Index(first), entries, self.done(format!("append {group} {first}")))?;
            }
            "save" => {
                let word = arguments.word()?;
                log.save_state(group, data(&word), self.done(format!("save {group} {}", show(&data(&word)))))?;
            }
            "truncate" => {
                let from = arguments.number()?;
                log.truncate(group, Index(from), self.done(format!("truncate {group} {from}")))?;
            }
            "purge" => {
                let (through, marker) = (arguments.number()?, arguments.word()?);
                log.purge(group, Index(through), data(&marker), self.done(format!("purge {group} {through}")))?;
            }
            _ => log.remove_group(group, self.done(format!("remove {group}")))?,
        }
        Ok(())
    }

    fn read(&self, arguments: &mut Arguments<'_>) -> Result<String> {
        let bytes_max = usize::try_from(arguments.key("bytes", u64::MAX)?)?;
        let (group, start, end) = (arguments.group()?, arguments.number()?, arguments.number()?);
        let entries = self.log()?.read(group, Index(start)..Index(end), bytes_max)?;
        Ok(entries.iter().map(|entry| show(entry)).collect::<Vec<_>>().join(" "))
    }

    fn disk(&mut self, name: &str, arguments: &mut Arguments<'_>) -> Result<()> {
        match name {
            "fail" => {
                let kind = match arguments.0.take_key("with").unwrap_or("io") {
                    "full" => ErrorKind::StorageFull,
                    _ => ErrorKind::Other,
                };
                let after = arguments.key("after", 0)?;
                self.fs.fail(op(&arguments.word()?)?, after, kind);
            }
            "flip" => {
                let (file, at) = (arguments.word()?, usize::try_from(arguments.number()?)?);
                self.change_file(&file, |bytes| bytes[at] ^= 1)?;
            }
            "cut" => {
                let (file, at) = (arguments.word()?, usize::try_from(arguments.number()?)?);
                self.change_file(&file, |bytes| bytes.truncate(at))?;
            }
            "zero" => {
                let (file, at) = (arguments.word()?, usize::try_from(arguments.number()?)?);
                let length = usize::try_from(arguments.number()?)?;
                self.change_file(&file, |bytes| bytes[at..at + length].fill(0))?;
            }
            _ => {
                use lentic_log::Fs as _;
                self.fs.remove(&arguments.word()?)?;
                self.fs.sync_dir()?;
            }
        }
        Ok(())
    }

    fn execute(&mut self, command: &Command) -> Result<String> {
        let mut arguments = Arguments(command.consume_args());
        let mut out = String::new();
        match command.name.as_str() {
            "open" => self.open(&mut arguments)?,
            name @ ("append" | "save" | "truncate" | "purge" | "remove") => self.change(name, &mut arguments)?,
            name @ ("fail" | "flip" | "cut" | "zero" | "lose") => self.disk(name, &mut arguments)?,
            "step" => {
                self.writer.as_mut().ok_or("the log is not open")?.step();
            }
            "run" => while self.writer.as_mut().ok_or("the log is not open")?.step() {},
            "close" => self.writer.take().ok_or("the log is not open")?.close()?,
            "crash" => self.end(Some(arguments.key("seed", 0)?)),
            "kill" => self.end(None),
            "heal" => self.fs.heal(),
            "read-only" => self.fs.set_read_only(),
            "capacity" => self.fs.set_capacity_bytes(arguments.number()?),
            "read" => out = self.read(&mut arguments)?,
            "state" => out = self.state()?,
            "files" => {
                for name in self.fs.names() {
                    writeln!(out, "{name} {}", self.fs.bytes(&name).ok_or("listed a moment ago")?.len())?;
                }
            }
            "room" => {
                let said = Arc::clone(&self.said);
                self.log()?.when_room(Box::new(move || said.lock().unwrap().push_str("there is room\n")));
            }
            "stats" => {
                let stats = self.log()?.stats()?;
                writeln!(out, "gathers {} entries {} segments {}", stats.gathers, stats.entries, stats.segments)?;
                writeln!(out, "cache hits {} misses {}", stats.cache_hits, stats.cache_misses)?;
            }
            name => return Err(format!("unknown command {name}").into()),
        }
        Ok(std::mem::take(&mut *self.said.lock().unwrap()) + &out)
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String> {
        // What completions said before a command failed belongs to it.
        self.execute(command).map_err(|error| {
            let said = std::mem::take(&mut *self.said.lock().unwrap());
            format!("{said}{error}").into()
        })
    }
}

#[test]
fn scripts() {
    let mut names: Vec<_> = std::fs::read_dir("tests/scripts").unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 8, "the scripts are found");
    names.iter().for_each(|path| goldenscript::run(&mut Script::default(), path).unwrap());
}
