//! What must be in the tables: calculated in memory, without the state library, and written down as docs/formats.md says.

use std::collections::BTreeMap;

use lentic_client::state::{Data, KeyBytes, KeyGroup, Windowed};

use super::ledger::{self, AIR};
use super::source::{Flight, Side, key_in, max_parallelism};
use super::worker::{Aircraft, Delays, WINDOW_MINUTES};

/// The rows of a table.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
/// The rows of all tables.
pub(crate) type Tables = BTreeMap<&'static str, Rows>;

/// What the jobs' tables must hold after all flights, each row byte for byte.
pub(crate) fn expected(flights: &[Flight]) -> Tables {
    let mut tables = Tables::new();
    departures(flights, tables.entry(Side::Departures.name()).or_default());
    arrivals(flights, tables.entry(Side::Arrivals.name()).or_default());
    delays(flights, &mut tables);
    tables.entry(Side::Arrivals.output()).or_default();
    moves(flights, tables.entry(ledger::TABLE).or_default());
    offsets(flights, &mut tables);
    tables
}

/// The carriers' aggregates.
fn departures(flights: &[Flight], rows: &mut Rows) {
    let (mut flown, mut cancelled) = (BTreeMap::new(), BTreeMap::new());
    for Flight { carrier, delay, .. } in flights {
        match delay {
            Some(delay) => flown.entry(carrier).or_insert_with(Vec::new).push(*delay),
            None => *cancelled.entry(carrier).or_insert(0i64) += 1,
        }
    }
    for (carrier, delays) in flown {
        rows.extend([
            row("flights", carrier, &i64::try_from(delays.len()).expect("few flights")),
            row("delay", carrier, &delays.iter().sum::<i64>()),
            row("worst", carrier, delays.iter().max().expect("it has flown")),
        ]);
    }
    rows.extend(cancelled.into_iter().map(|(carrier, count)| row("cancelled", carrier, &count)));
}

/// Where each aircraft is.
fn arrivals(flights: &[Flight], rows: &mut Rows) {
    let mut aircraft: BTreeMap<&String, Aircraft> = BTreeMap::new();
    for flight in flights.iter().filter(|flight| flight.delay.is_some()) {
        if let Some(tail) = &flight.tail {
            let known = aircraft.get(tail).map_or(0, |(_, (_, flights))| *flights);
            aircraft.insert(tail, (flight.dest.clone(), (flight.minute, known + 1)));
        }
    }
    rows.extend(aircraft.into_iter().map(|(tail, last)| row("aircraft", tail, &last)));
}

/// The output, and the sums of the routes.
fn delays(flights: &[Flight], tables: &mut Tables) {
    let add = |known: Delays, delay: i64| (known.0 + 1, (known.1.0 + delay, known.1.1.max(delay)));
    let none: Delays = (0, (0, i64::MIN));
    let (mut routes, mut windows) = (BTreeMap::new(), BTreeMap::new());
    for flight in flights {
        if let Some(delay) = flight.delay {
            let window = (flight.minute / WINDOW_MINUTES + 1) * WINDOW_MINUTES;
            let (route, window) = (routes.entry(flight.route()), windows.entry((flight.route(), window)));
            route.and_modify(|known| *known = add(*known, delay)).or_insert_with(|| add(none, delay));
            window.and_modify(|known| *known = add(*known, delay)).or_insert_with(|| add(none, delay));
        }
    }
    let windowed = |((route, window), delays)| row("delays", &Windowed { key: route, window }, &delays);
    tables.entry(Side::Departures.output()).or_default().extend(windows.into_iter().map(windowed));
    let routes = routes.into_iter().map(|(route, delays)| row("routes", &route, &delays));
    tables.entry(Side::Departures.name()).or_default().extend(routes);
}

/// What airports have gained and lost.
fn moves(flights: &[Flight], rows: &mut Rows) {
    let mut places = BTreeMap::new();
    let mut shift = |from: &str, to: &str| {
        *places.entry(from.to_owned()).or_insert(0i64) -= 1;
        *places.entry(to.to_owned()).or_insert(0i64) += 1;
    };
    for flight in flights.iter().filter(|flight| flight.delay.is_some()) {
        shift(&flight.origin, AIR);
        if flight.tail.is_some() {
            shift(AIR, &flight.dest);
        }
    }
    let bytes = |sum: i64| sum.to_be_bytes().to_vec();
    rows.extend(places.into_iter().map(|(place, sum)| (ledger::place_key(&place).into_bytes(), bytes(sum))));
}

/// How far the partitions are read, and up to where their moves are in the ledger.
fn offsets(flights: &[Flight], tables: &mut Tables) {
    let group = |key: &str| max_parallelism().group_of(key.hash_code());
    let (mut offsets, mut marks) = (BTreeMap::new(), BTreeMap::new());
    let mut next = |side: Side, key: &str, moves: bool| {
        let place = (side.name(), group(key));
        let offset: &mut i64 = offsets.entry(place).or_default();
        *offset += 1;
        if moves {
            marks.insert(ledger::mark_key(side, place.1), *offset);
        }
    };
    for flight in flights {
        if flight.delay.is_some() {
            next(Side::Departures, &flight.route(), true);
        }
        next(Side::Departures, &flight.carrier, false);
        if let (Some(_), Some(tail)) = (flight.delay, &flight.tail) {
            next(Side::Arrivals, tail, true);
        }
    }
    for ((table, group), offset) in offsets {
        tables.entry(table).or_default().extend([row("offset", &key_in(group), &offset)]);
    }
    let marks = marks.into_iter().map(|(key, mark)| (key.into_bytes(), mark.to_be_bytes().to_vec()));
    tables.entry(ledger::TABLE).or_default().extend(marks);
}

/// The row of a key in a state: key group, CRC-32 of the state's name, the key with its zeros escaped.
fn row(state: &str, key: &impl KeyBytes, value: &impl Data) -> (Vec<u8>, Vec<u8>) {
    let KeyGroup(group) = max_parallelism().group_of(key.hash_code());
    let mut out = group.to_be_bytes().to_vec();
    out.extend(crc32fast::hash(state.as_bytes()).to_be_bytes());
    let (mut plain, mut bytes) = (Vec::new(), Vec::new());
    key.put_key(&mut plain);
    for byte in plain {
        out.push(byte);
        out.extend((byte == 0).then_some(0xff));
    }
    out.extend([0, 1]);
    value.put(&mut bytes);
    (out, bytes)
}
