//! `lentic load`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::csv::CsvRecords;
use super::encoding::Encoding;
use super::feeder::{Fed, Feeder};
use super::jsonl::JsonlRecords;
use super::recipe::{Recipe, ValueRecipe};
use super::record::{RecordError, Records};
use super::source::{Position, Source};
use super::template::Template;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Outcome, Session};
use crate::text::{Span, count, per_second, rate};

/// Put the rows of a file into a table: CSV or JSON lines, compressed by gzip or not
///
/// It can be continued where it stopped: it tells through which row all are acknowledged, and --skip leaves those out.
/// To load a row twice does no harm. Of rows with the same key the last one stays.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoadArgs {
    /// The table
    table: String,
    /// The file: *.csv, *.jsonl or *.ndjson, with .gz after it or not; - is stdin
    file: PathBuf,
    /// The columns that make up the key, joined by slashes. Without, the file is what `lentic dump` writes
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "key_format")]
    key: Vec<String>,
    /// How the key is put together: 'flights/{origin}/{month:02}' fills the month up to two digits
    #[arg(long, value_name = "TEMPLATE")]
    key_format: Option<Template>,
    /// The column that is the value; else the whole row is, as a JSON object
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// What the file is written in, if its name does not say
    #[arg(long, value_name = "FORMAT")]
    format: Option<Encoding>,
    /// What separates the fields of a CSV file: a character, or tab
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// Leave out so many rows at the beginning
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    skip: u64,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("expected one ASCII character other than a quote, or tab".to_owned()),
    }
}

impl LoadArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let (mut records, position) = self.open()?;
        skip(&mut records, self.skip).map_err(|error| self.unreadable(&error))?;
        let client = session.lingering(Feeder::LINGER).await?;
        let mut feeder = Feeder::new(session, client.table(&self.table), self.skip)?;
        let end = feeder.feed(records, &position).await;
        let fed = feeder.finish().await;
        let is_complete = fed.failure.is_none() && matches!(end, Fed::All);
        session.printer.answer(&Loaded::new(&fed, is_complete))?;
        let failure = match (fed.failure, end) {
            (None, Fed::All) => return Ok(Ending::Done),
            (None, Fed::Interrupted) => return Ok(Ending::Interrupted),
            (Some(failure), _) => failure,
            (None, Fed::Unreadable(error)) => self.unreadable(&error),
        };
        let help = failure.help.clone().map(|help| help + "; ").unwrap_or_default();
        Err(failure.with_help(format!("{help}continue with --skip {}", fed.through)))
    }

    fn open(&self) -> Result<(Records, Position), Failure> {
        let encoding = Encoding::of(&self.file, self.format)?;
        let recipe = self.recipe()?;
        let Source { input, position } = Source::open(&self.file)?;
        let records = match encoding {
            Encoding::Csv => {
                let records = CsvRecords::new(input, self.delimiter, recipe);
                Records::Csv(records.map_err(|error| self.unreadable(&error))?)
            }
            Encoding::Jsonl => Records::Jsonl(JsonlRecords::new(input, recipe)),
        };
        Ok((records, position))
    }

    fn recipe(&self) -> Result<Recipe, Failure> {
        let key = match &self.key_format {
            Some(template) => Some(template.clone()),
            None if self.key.is_empty() => None,
            None => Some(Template::of_columns(&self.key)),
        };
        match (key, &self.value) {
            (None, None) => Ok(Recipe::Dumped),
            (None, Some(_)) => Err(Failure::usage("--value names a column, but the key is not named; say --key too")),
            (Some(key), None) => Ok(Recipe::Made { key, value: ValueRecipe::Row }),
            (Some(key), Some(column)) => Ok(Recipe::Made { key, value: ValueRecipe::Column(column.clone()) }),
        }
    }

    fn unreadable(&self, error: &RecordError) -> Failure {
        Failure::file(&self.file.display().to_string(), error)
    }
}

fn skip(records: &mut Records, rows: u64) -> Result<(), RecordError> {
    lentic_runtime::blocking(|| {
        for row in 0..rows {
            if !records.skip()? {
                return Err(RecordError::new(
                    0,
                    format!("the file has {row} rows, fewer than --skip {rows} leaves out"),
                ));
            }
        }
        Ok(())
    })
}

#[derive(Serialize)]
struct Loaded {
    complete: bool,
    /// All rows up to this one are acknowledged, those that were skipped among them.
    acknowledged_through: u64,
    /// Rows that were acknowledged now.
    rows: u64,
    seconds: f64,
    rows_per_second: f64,
}

impl Loaded {
    fn new(fed: &super::feeder::Tally, complete: bool) -> Self {
        let seconds = fed.elapsed.as_secs_f64();
        let rows_per_second = per_second(fed.rows, seconds);
        Self { complete, acknowledged_through: fed.through, rows: fed.rows, seconds, rows_per_second }
    }
}

impl Answer for Loaded {
    fn human(&self) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time that has passed")]
        let span = Span::from_ms((self.seconds * 1_000.0) as u64);
        let (rows, rate) = (count(self.rows), rate(self.rows, self.seconds));
        if self.complete {
            return format!("loaded {rows} rows in {span}, {rate} rows/s\n");
        }
        let through = self.acknowledged_through;
        format!(
            "loaded {rows} rows in {span}; all through row {through} are acknowledged: continue with --skip {through}\n"
        )
    }

    /// Acknowledged through, rows, whether all.
    fn plain(&self) -> Vec<Vec<String>> {
        vec![vec![self.acknowledged_through.to_string(), self.rows.to_string(), self.complete.to_string()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::feeder::Tally;
    use crate::output::shapes_of;
    use std::time::Duration;

    #[test]
    fn a_load_tells_how_to_go_on() {
        let tally = Tally { rows: 5_000, through: 4_000, elapsed: Duration::from_millis(2_500), failure: None };
        let [human, plain, json] = shapes_of(&Loaded::new(&tally, true));
        assert_eq!(human, "loaded 5,000 rows in 2s500ms, 2,000 rows/s\n");
        assert_eq!(plain, "4000\t5000\ttrue\n");
        assert_eq!(
            json,
            "{\"complete\":true,\"acknowledged_through\":4000,\"rows\":5000,\"seconds\":2.5,\
             \"rows_per_second\":2000.0}\n"
        );
        let [human, ..] = shapes_of(&Loaded::new(&tally, false));
        assert_eq!(
            human,
            "loaded 5,000 rows in 2s500ms; all through row 4000 are acknowledged: continue with --skip 4000\n"
        );
    }

    #[test]
    fn what_separates_fields_is_one_character() {
        assert_eq!(
            [";", "tab", "\\t", "|"].map(|text| delimiter(text).ok()),
            [Some(b';'), Some(b'\t'), Some(b'\t'), Some(b'|')]
        );
        assert_eq!(["", "\"", "ab", "é", "\n"].map(|text| delimiter(text).ok()), [None; 5]);
    }
}
