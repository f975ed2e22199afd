//! Events, and how they are written as state.

use lentic_client::state::Data;
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;

/// An event. No query here asks who a person is.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Person,
    Auction(Auction),
    Bid(Bid),
}

/// Something to be sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Auction {
    pub(super) id: i64,
    pub(super) seller: i64,
    pub(super) category: i64,
    /// When it begins and ends, in milliseconds.
    pub(super) time: i64,
    pub(super) expires: i64,
    /// Its other columns, about as many bytes as the benchmark says.
    pub(super) rest: Vec<u8>,
}

/// An offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bid {
    pub(super) auction: i64,
    pub(super) bidder: i64,
    pub(super) price: i64,
    pub(super) time: i64,
    /// Its other columns.
    pub(super) rest: Vec<u8>,
}

impl Bid {
    /// Whether it was made while `auction` lasted.
    pub(super) const fn is_within(&self, auction: &Auction) -> bool {
        auction.time <= self.time && self.time <= auction.expires
    }
}

/// The first events of the default stream: 10,000 for each second of its time, 46 of 50 of them bids.
pub(super) fn events(count: usize) -> Vec<Event> {
    // Its own default is the hour in which it runs.
    let config = NexmarkConfig { base_time: 1_436_918_400_000, ..NexmarkConfig::default() };
    EventGenerator::new(config).take(count).map(event).collect()
}

fn event(event: nexmark::event::Event) -> Event {
    use nexmark::event::Event as Made;
    match event {
        Made::Person(_) => Event::Person,
        Made::Auction(made) => Event::Auction(Auction {
            id: number(made.id),
            seller: number(made.seller),
            category: number(made.category),
            time: made.date_time.cast_signed(),
            expires: made.expires.cast_signed(),
            rest: [made.item_name, made.description, made.extra].concat().into_bytes(),
        }),
        Made::Bid(made) => Event::Bid(Bid {
            auction: number(made.auction),
            bidder: number(made.bidder),
            price: number(made.price),
            time: made.date_time.cast_signed(),
            rest: [made.channel, made.url, made.extra].concat().into_bytes(),
        }),
    }
}

fn number(number: usize) -> i64 {
    i64::try_from(number).expect("ids and prices are small")
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[i64]) {
    numbers.iter().for_each(|number| put_varint(out, number.cast_unsigned()));
}

fn read_number(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    reader.varint("number").map(u64::cast_signed)
}

impl Data for Auction {
    fn form() -> String {
        "auction".to_owned()
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_numbers(out, &[self.id, self.seller, self.category, self.time, self.expires]);
        out.extend_from_slice(&self.rest);
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            id: read_number(&mut reader)?,
            seller: read_number(&mut reader)?,
            category: read_number(&mut reader)?,
            time: read_number(&mut reader)?,
            expires: read_number(&mut reader)?,
            rest: reader.rest().to_vec(),
        })
    }
}

impl Data for Bid {
    fn form() -> String {
        "bid".to_owned()
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_numbers(out, &[self.auction, self.bidder, self.price, self.time]);
        out.extend_from_slice(&self.rest);
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            auction: read_number(&mut reader)?,
            bidder: read_number(&mut reader)?,
            price: read_number(&mut reader)?,
            time: read_number(&mut reader)?,
            rest: reader.rest().to_vec(),
        })
    }
}

/// Some of a kind, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows<V>(pub(super) Vec<V>);

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Data> Data for Rows<V> {
    fn form() -> String {
        format!("rows({})", V::form())
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut row = Vec::new();
        for one in &self.0 {
            row.clear();
            one.put(&mut row);
            put_bytes(out, &row);
        }
    }

    fn from_data(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, mut rows) = (Reader::new(bytes), Vec::new());
        while !reader.rest().is_empty() {
            rows.push(V::from_data(reader.bytes("row")?)?);
        }
        Ok(Self(rows))
    }
}
