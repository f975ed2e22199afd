//! Where records are read from: a file or stdin, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use crate::failure::Failure;

/// The first two bytes of a gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An opened file, and how far it has been read.
pub(super) struct Source {
    pub(super) input: Box<dyn Read + Send>,
    pub(super) position: Position,
}

/// How far a file has been read, in its own bytes: those of the compressed file if it is compressed.
#[derive(Clone, Debug)]
pub(super) struct Position {
    read_bytes: Arc<AtomicU64>,
    /// How large the file is, if that is known.
    pub(super) total_bytes: Option<u64>,
}

impl Position {
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

impl Source {
    /// Opens `path`; `-` is stdin. Whether it is compressed is told by its first bytes.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let refused = |error: io::Error| Failure::file(&name, &error);
        if path == Path::new("-") {
            return Self::new(io::stdin(), None).map_err(refused);
        }
        let file = File::open(path).map_err(refused)?;
        let about = file.metadata().map_err(refused)?;
        if about.is_dir() {
            return Err(Failure::usage(format!("{name} is a directory; expected a file")));
        }
        Self::new(file, about.is_file().then_some(about.len())).map_err(refused)
    }

    fn new(input: impl Read + Send + 'static, total_bytes: Option<u64>) -> io::Result<Self> {
        let read_bytes = Arc::new(AtomicU64::new(0));
        let position = Position { read_bytes: read_bytes.clone(), total_bytes };
        let mut input = BufReader::with_capacity(256 << 10, Counted { input, read_bytes });
        // A pipe may give its first byte alone: a buffer that holds one byte does not say that it is no gzip.
        let first = input.fill_buf()?.to_vec();
        let input: Box<dyn Read + Send> = match first[..] {
            [byte] if byte == GZIP[0] => {
                let mut second = [0];
                input.consume(1);
                let count = input.read(&mut second)?;
                let begin = [&first[..], &second[..count]].concat();
                let is_gzip = begin == GZIP;
                let whole = BufReader::new(io::Cursor::new(begin).chain(input));
                if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) }
            }
            _ if first.starts_with(&GZIP) => Box::new(MultiGzDecoder::new(input)),
            _ => Box::new(input),
        };
        Ok(Self { input, position })
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    /// Gives one byte at a time, as a slow pipe may.
    struct Slow(io::Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(input: impl Read + Send + 'static) -> io::Result<String> {
        let mut source = Source::new(input, None)?;
        let mut text = String::new();
        source.input.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn compressed_or_not_is_told_by_the_first_bytes() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        for (bytes, expected) in [(two, "one two"), (b"plain".to_vec(), "plain"), (b"p".to_vec(), "p"), (vec![], "")] {
            assert_eq!(read(io::Cursor::new(bytes.clone())).unwrap(), expected);
            assert_eq!(read(Slow(io::Cursor::new(bytes))).unwrap(), expected);
        }
        assert!(read(io::Cursor::new(gzip(b"cut off")[..15].to_vec())).is_err());
        assert!(read(Slow(io::Cursor::new(vec![0x1f]))).is_ok(), "a byte alone is no gzip");
    }

    #[test]
    fn the_position_is_that_of_the_file() {
        let bytes = gzip(&[b'a'; 100_000]);
        let length = bytes.len() as u64;
        let mut source = Source::new(io::Cursor::new(bytes), Some(length)).unwrap();
        io::copy(&mut source.input, &mut io::sink()).unwrap();
        assert_eq!((source.position.read_bytes(), source.position.total_bytes), (length, Some(length)));
        assert!(Source::open(Path::new("no/such/file")).is_err());
        assert!(Source::open(Path::new("/")).is_err());
    }
}
