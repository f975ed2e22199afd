//! What a file is written in.

use std::path::Path;

use clap::ValueEnum;

use crate::failure::Failure;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// Fields separated by commas, with a heading
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl Encoding {
    /// As asked for, or else by the ending of the file's name, before `.gz` if that is there.
    pub(super) fn of(path: &Path, asked: Option<Self>) -> Result<Self, Failure> {
        if let Some(asked) = asked {
            return Ok(asked);
        }
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        match name.trim_end_matches(".gz").rsplit_once('.').map(|(_, ending)| ending) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ => {
                let message = format!("the name {} does not say what it is written in", path.display());
                Err(Failure::usage(message).with_help("say --format csv or --format jsonl"))
            }
        }
    }
}

/// Whether a file of this name is compressed by gzip.
pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_in_files() {
        let of = |name: &str| Encoding::of(Path::new(name), None).ok();
        assert_eq!([of("a.csv"), of("b/A.CSV.gz")], [Some(Encoding::Csv); 2]);
        assert_eq!([of("a.jsonl"), of("a.b.ndjson.gz")], [Some(Encoding::Jsonl); 2]);
        assert_eq!([of("-"), of("a.json"), of("csv"), of(".gz"), of("a.csv.zip")], [None; 5]);
        assert_eq!(Encoding::of(Path::new("-"), Some(Encoding::Csv)).ok(), Some(Encoding::Csv));
        assert_eq!([is_gzip(Path::new("a.csv.gz")), is_gzip(Path::new("a.csv"))], [true, false]);
    }
}
