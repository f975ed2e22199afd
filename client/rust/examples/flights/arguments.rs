//! The program's arguments.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "usage: flights [--cluster ADDRESS[,ADDRESS...] | --embedded DIRECTORY] [--tasks N] \
                                [--chaos [--seed N]] [--data FILE]";
/// Most tasks of a job.
const TASKS_MAX: u32 = 32;

/// Where the jobs keep their state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Addresses of nodes.
    Cluster(Vec<String>),
    /// The directory of a node in this process.
    Embedded(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) place: Place,
    /// With how many tasks each job begins.
    pub(crate) tasks: u32,
    /// The seed of kills, if there are to be any.
    pub(crate) chaos: Option<u64>,
    /// A file of flights, plain or compressed with gzip.
    pub(crate) data: PathBuf,
}

impl Arguments {
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let data = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/data/flights/2013-01.csv.gz"));
        let place = Place::Cluster(vec!["http://127.0.0.1:7420".to_owned()]);
        let (mut arguments, mut seed) = (Self { place, tasks: 2, chaos: None, data }, None);
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{name} has no value; give one"));
            match name.as_str() {
                "--cluster" => arguments.place = Place::Cluster(value()?.split(',').map(str::to_owned).collect()),
                "--embedded" => arguments.place = Place::Embedded(value()?.into()),
                "--tasks" => arguments.tasks = number(&name, &value()?)?,
                "--seed" => seed = Some(number(&name, &value()?)?),
                "--chaos" => arguments.chaos = Some(0),
                "--data" => arguments.data = value()?.into(),
                _ => return Err(format!("{name} is no argument of this program")),
            }
        }
        if !(1..=TASKS_MAX).contains(&arguments.tasks) {
            return Err(format!("{} tasks, expected 1 to {TASKS_MAX}", arguments.tasks));
        }
        match (&mut arguments.chaos, seed) {
            (None, Some(_)) => return Err("--seed is for --chaos; give both".to_owned()),
            (Some(chaos), Some(seed)) => *chaos = seed,
            (_, None) => {}
        }
        Ok(arguments)
    }
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{name} {text}: expected a number"))
}
