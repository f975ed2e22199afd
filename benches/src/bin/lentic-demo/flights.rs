//! The file, and what must be found when it is loaded.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use flate2::read::GzDecoder;

use crate::Failure;

/// The columns that make up a key, as `lentic load` is told.
pub(crate) const KEY_FORMAT: &str = "{year}-{month:02}-{day:02}/{carrier}/{flight:04}/{origin}";
/// Where tables of flights are cut: four shards of about a week each.
pub(crate) const SPLIT_AT: [&str; 3] = ["2013-01-09", "2013-01-17", "2013-01-25"];

/// One row of the file, with what is counted of it.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    /// Its key by [`KEY_FORMAT`].
    pub(crate) key: String,
    /// Its value: the row as a JSON object.
    pub(crate) value: String,
    pub(crate) carrier: String,
    pub(crate) origin: String,
    pub(crate) dest: String,
    /// Minutes since the month's first midnight.
    planned_minute: u32,
}

/// The file's rows, in its order.
pub(crate) struct Month {
    pub(crate) path: PathBuf,
    pub(crate) flights: Vec<Flight>,
}

impl Month {
    /// Reads the file that ships with this program.
    pub(crate) fn read() -> Result<Self, Failure> {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights/2013-01.csv.gz"));
        let refused = |error| format!("{} cannot be read: {error}", path.display());
        let file = File::open(&path).map_err(refused)?;
        let text = std::io::read_to_string(GzDecoder::new(file)).map_err(refused)?;
        let flights = parse(&text).map_err(|what| format!("{}: {what}", path.display()))?;
        Ok(Self { path, flights })
    }

    /// The path as it would be typed here.
    pub(crate) fn shown_path(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        self.path.strip_prefix(here).unwrap_or(&self.path).display().to_string()
    }

    /// What a table must hold into which the file was loaded.
    pub(crate) fn rows(&self) -> BTreeMap<String, String> {
        self.flights.iter().map(|flight| (flight.key.clone(), flight.value.clone())).collect()
    }

    /// The flights in the order of their planned departures, as a job would see them.
    pub(crate) fn as_planned(&self) -> Vec<&Flight> {
        let mut flights: Vec<&Flight> = self.flights.iter().collect();
        flights.sort_by_key(|flight| flight.planned_minute);
        flights
    }
}

/// Parses the file. It has no quotes, so a comma is a comma.
fn parse(text: &str) -> Result<Vec<Flight>, String> {
    let mut lines = text.lines();
    let heading: Vec<&str> = lines.next().ok_or("the file is empty")?.split(',').collect();
    lines.map(|line| flight(&heading, line).ok_or_else(|| format!("{line:?} is no flight"))).collect()
}

fn flight(heading: &[&str], line: &str) -> Option<Flight> {
    let fields: Vec<&str> = line.split(',').collect();
    if fields.len() != heading.len() || line.contains(['"', '\\']) {
        return None;
    }
    let field = |name: &str| heading.iter().position(|column| *column == name).map(|place| fields[place]);
    let (carrier, origin, dest) = (field("carrier")?, field("origin")?, field("dest")?);
    let (year, month, number) = (field("year")?, field("month")?, field("flight")?);
    let day: u32 = field("day")?.parse().ok()?;
    let planned: u32 = field("sched_dep_time")?.parse().ok()?;
    let members: Vec<String> =
        heading.iter().zip(&fields).map(|(name, field)| format!("\"{name}\":\"{field}\"")).collect();
    Some(Flight {
        key: format!("{year}-{month:0>2}-{day:02}/{carrier}/{number:0>4}/{origin}"),
        value: format!("{{{}}}", members.join(",")),
        carrier: carrier.to_owned(),
        origin: origin.to_owned(),
        dest: dest.to_owned(),
        planned_minute: day * 1_440 + planned / 100 * 60 + planned % 100,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_month() {
        let month = Month::read().expect("the file ships with the sources");
        assert_eq!((month.flights.len(), month.rows().len()), (27_004, 27_004), "each flight has a key of its own");
        let first = &month.flights[0];
        assert_eq!(first.key, "2013-01-01/9E/3286/JFK");
        assert!(
            first.value.starts_with(r#"{"carrier":"9E","flight":"3286","origin":"JFK","dest":"DTW","#),
            "{first:?}"
        );
        let united = month.flights.iter().filter(|flight| flight.carrier == "UA").count();
        assert_eq!(united, 4_637);
    }

    #[test]
    fn what_is_no_flight_is_refused() {
        assert_eq!(parse("").unwrap_err(), "the file is empty");
        assert!(parse("carrier,flight\nUA").unwrap_err().contains("is no flight"));
    }
}
