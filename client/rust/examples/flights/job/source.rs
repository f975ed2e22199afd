//! The file of flights, and the events that the jobs see: in partitions, in order, each with an offset.
//!
//! A partition is a key group: a task reads those of its key groups, and whoever has them next goes on at their offsets.

use std::fs::File;
use std::path::Path;

use flate2::read::GzDecoder;
use lentic_client::state::{KeyBytes, KeyGroup, MaxParallelism};

use super::failure::Failure;

/// How many key groups, and partitions, each job has.
pub(super) const GROUPS: u32 = 32;

/// One flight of the file. Times are minutes since the month's first midnight, as the airports' clocks have them.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) carrier: String,
    pub(crate) origin: String,
    pub(crate) dest: String,
    /// Its aircraft, if it is known.
    pub(crate) tail: Option<String>,
    /// When it was to depart.
    pub(crate) minute: i64,
    /// How many minutes after that it did; `None`: it was cancelled.
    pub(crate) delay: Option<i64>,
}

impl Flight {
    pub(crate) fn route(&self) -> String {
        format!("{}-{}", self.origin, self.dest)
    }
}

/// Which of the two jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Departures,
    Arrivals,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Departures, Self::Arrivals];

    /// The job's name, and that of the table with its state.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Departures => "flights-departures",
            Self::Arrivals => "flights-arrivals",
        }
    }

    /// The table with its output.
    pub(crate) const fn output(self) -> &'static str {
        match self {
            Self::Departures => "flights-delays",
            Self::Arrivals => "flights-seen",
        }
    }
}

/// What a job is told of a flight.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// To the route.
    Departed { route: String, origin: String, minute: i64, delay: i64 },
    /// To the carrier.
    Flown { carrier: String, delay: Option<i64> },
    /// To the aircraft.
    Landed { tail: String, dest: String, minute: i64 },
}

impl Event {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Departed { route: key, .. } | Self::Flown { carrier: key, .. } | Self::Landed { tail: key, .. } => {
                key
            }
        }
    }
}

/// A job's events: of each partition, in order, with their minutes.
pub(super) struct Source(Vec<Vec<(i64, Event)>>);

impl Source {
    pub(super) fn new(side: Side, flights: &[Flight]) -> Self {
        let mut partitions = vec![Vec::new(); max_parallelism().get() as usize];
        for flight in flights {
            for event in events(side, flight) {
                let group = max_parallelism().group_of(event.key().hash_code());
                partitions[usize::from(group.0)].push((flight.minute, event));
            }
        }
        Self(partitions)
    }

    /// The event at an offset, with its minute; `None` at the partition's end.
    pub(super) fn get(&self, partition: KeyGroup, offset: i64) -> Option<&(i64, Event)> {
        self.0[usize::from(partition.0)].get(usize::try_from(offset).ok()?)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

fn events(side: Side, flight: &Flight) -> Vec<Event> {
    let (route, carrier, minute) = (flight.route(), flight.carrier.clone(), flight.minute);
    match (side, flight.delay, &flight.tail) {
        (Side::Departures, Some(delay), _) => {
            let origin = flight.origin.clone();
            let departed = Event::Departed { route, origin, minute, delay };
            vec![departed, Event::Flown { carrier, delay: Some(delay) }]
        }
        (Side::Departures, None, _) => vec![Event::Flown { carrier, delay: None }],
        (Side::Arrivals, Some(_), Some(tail)) => {
            vec![Event::Landed { tail: tail.clone(), dest: flight.dest.clone(), minute }]
        }
        (Side::Arrivals, ..) => Vec::new(),
    }
}

pub(super) fn max_parallelism() -> MaxParallelism {
    MaxParallelism::new(GROUPS).expect("it is within the limits")
}

/// A key in a key group: under it the group's partition has its offset, which so goes wherever the group goes.
pub(super) fn key_in(group: KeyGroup) -> i64 {
    (0..).find(|key: &i64| max_parallelism().group_of(key.hash_code()) == group).expect("every group has keys")
}

/// The flights of a file in the order of their planned departures. It has no quotes, so a comma is a comma.
pub(crate) fn read(path: &Path) -> Result<Vec<Flight>, Failure> {
    let refused = |what: &dyn std::fmt::Display| Failure::Wrong(format!("{} cannot be read: {what}", path.display()));
    let file = File::open(path).map_err(|error| refused(&error))?;
    let text = match path.extension().is_some_and(|extension| extension == "gz") {
        true => std::io::read_to_string(GzDecoder::new(file)),
        false => std::io::read_to_string(file),
    };
    let text = text.map_err(|error| refused(&error))?;
    let mut lines = text.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let parsed = |line| flight(&heading, line).ok_or_else(|| refused(&format!("{line:?} is no flight")));
    let mut flights = lines.map(parsed).collect::<Result<Vec<_>, _>>()?;
    flights.sort_by_key(|flight| flight.minute);
    Ok(flights)
}

fn flight(heading: &[&str], line: &str) -> Option<Flight> {
    let fields: Vec<&str> = line.split(',').collect();
    let field = |name: &str| fields.get(heading.iter().position(|column| *column == name)?).copied();
    let known = |name: &str| field(name).map(|text| Some(text).filter(|text| !matches!(*text, "NA" | "")));
    let (day, planned): (i64, i64) = (field("day")?.parse().ok()?, field("sched_dep_time")?.parse().ok()?);
    Some(Flight {
        carrier: field("carrier")?.to_owned(),
        origin: field("origin")?.to_owned(),
        dest: field("dest")?.to_owned(),
        tail: known("tailnum")?.map(str::to_owned),
        minute: (day - 1) * 1_440 + planned / 100 * 60 + planned % 100,
        delay: known("dep_delay")?.map(str::parse).transpose().ok()?,
    })
}
