//! Where a dump is written to: a file that appears when it is whole, or stdout.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::encoding::is_gzip;

/// A file being written, under another name until it is done.
pub(super) struct Target {
    out: Out,
    /// The name while it is written, and the name it gets.
    names: Option<(PathBuf, PathBuf)>,
}

enum Out {
    Plain(Box<dyn Sink>),
    Gzip(GzEncoder<Box<dyn Sink>>),
}

/// What bytes end up in.
trait Sink: Write + Send {
    /// Makes durable what was written, where that is a thing.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Sink for io::Stdout {
    fn sync(&mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Target {
    /// Begins `path`, compressed if its name ends in `.gz`; `-` is stdout.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { out: Out::Plain(Box::new(io::stdout())), names: None });
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let file: Box<dyn Sink> = Box::new(File::create(&part)?);
        let out =
            if is_gzip(path) { Out::Gzip(GzEncoder::new(file, Compression::default())) } else { Out::Plain(file) };
        Ok(Self { out, names: Some((part.into(), path.to_owned())) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.write_all(bytes),
            Out::Gzip(out) => out.write_all(bytes),
        }
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.sync()?,
            Out::Gzip(out) => {
                out.try_finish()?;
                out.get_mut().sync()?;
            }
        }
        match self.names.take() {
            Some((part, path)) => std::fs::rename(part, path),
            None => Ok(()),
        }
    }
}

/// What is not finished is not left behind.
impl Drop for Target {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.names {
            drop(std::fs::remove_file(part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::source::Source;

    #[test]
    fn a_file_appears_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.csv", "a.csv.gz"] {
            let path = directory.path().join(name);
            let mut target = Target::begin(&path).unwrap();
            target.write(b"text").unwrap();
            assert!(!path.exists());
            target.finish().unwrap();
            let read = io::read_to_string(Source::open(&path).unwrap().input).unwrap();
            assert_eq!(read, "text", "{name}");
        }
        let mut abandoned = Target::begin(&directory.path().join("b.csv")).unwrap();
        abandoned.write(b"text").unwrap();
        drop(abandoned);
        let mut names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.csv", "a.csv.gz"]);
    }
}
