//! The daemon's part: documents come in, couriers bring them out.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    time::Duration,
};

use lkm_monitor::{
    model::Class,
    sinks::{
        Delivered, Entry, Failure, Fate, Sink,
        courier::{Courier, Route},
    },
    spool::{Condition, Count, Incoming, Leave, Limits, Settings, Spool, total},
};

/// Names, and whether they want alerts only.
pub(crate) const SINKS: [(&str, bool); 2] = [("all", false), ("alerts", true)];
const MAX_BYTES: u64 = 300_000;
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the carrier says when its disk takes no more, when it does again, and in front of what it is about to bring in.
pub(crate) const IN_MEMORY: &str = "in memory";
pub(crate) const DURABLE: &str = "durable";
pub(crate) const BRINGING: &str = "bringing";

/// Documents that are brought in together.
#[derive(Clone, Debug)]
pub(crate) struct Bringing {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many had come in before.
    pub(crate) spooled: u64,
}

impl Bringing {
    /// Three numbers, if they are that.
    pub(crate) fn parse(numbers: &str) -> Option<Self> {
        let mut numbers = numbers.split(' ').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { first: next()?, last: next()?, spooled: next()? })
    }

    pub(crate) fn numbers(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }
}

pub(crate) fn settings(path: &Path) -> Settings {
    let limits = Limits { max_bytes: MAX_BYTES, max_age_s: 3600, max_dead_letter_bytes: 1 << 20 };
    Settings { path: path.to_owned(), limits, min_free_bytes: 0, retry: Duration::from_millis(50) }
}

/// Something of each, and most of what is worth least.
pub(crate) fn class(number: u64) -> Class {
    match number % 20 {
        0..10 => Class::Telemetry,
        10 | 11 => Class::State,
        12..15 => Class::Low,
        15 | 16 => Class::Medium,
        17 | 18 => Class::High,
        _ if number % 100 == 99 => Class::Loss,
        _ => Class::Critical,
    }
}

pub(crate) fn wants(alerts_only: bool, class: Class) -> bool {
    !alerts_only || class.is_alert()
}

/// What no receiver takes.
pub(crate) fn is_poison(number: u64) -> bool {
    number.is_multiple_of(997)
}

fn document(number: u64) -> Incoming {
    let padding = "x".repeat((number % 700) as usize);
    Incoming { class: class(number), happened_ms: 0, json: format!("{number} {padding}").into_bytes() }
}

/// Brings in what the one before was bringing in, if that is not there, and all that follows; ends when all of it is brought out.
pub(crate) fn carry(path: &Path, address: &str, documents: u64, before: &Bringing) {
    let spool = Arc::new(Spool::open(settings(path)).expect("open the spool"));
    spool.set_sinks(SINKS.map(|(name, alerts_only)| (name.to_owned(), alerts_only)).into()).expect("name the sinks");
    let couriers = SINKS.map(|(name, _)| {
        let pauses = (Duration::from_millis(1), Duration::from_millis(40));
        let route = Route { pauses, ..Route::new(name, 200, 1 << 17) };
        let sink = Wire { name, address: address.to_owned(), connection: None };
        Courier::start(Arc::clone(&spool), Box::new(sink), route).expect("start a courier")
    });
    let leave = Leave::default();
    let mut told = Condition::Durable;
    let spooled = || total(&spool.counts(), Count::Spooled);
    let mut next = if spooled() > before.spooled { before.last + 1 } else { before.first };
    while next <= documents {
        // Now and then more comes in than can be brought out.
        let is_flood = next % 20_000 >= 15_000;
        let group = if is_flood { 400 } else { 1 + next % 40 }.min(documents + 1 - next);
        let bringing = Bringing { first: next, last: next + group - 1, spooled: spooled() };
        println!("{BRINGING} {} {} {}", bringing.first, bringing.last, bringing.spooled);
        spool.append(&(next..next + group).map(document).collect::<Vec<_>>());
        tell(&spool, &mut told);
        next += group;
        while !is_flood && spool.bytes() > MAX_BYTES / 2 {
            spool.rest(Duration::from_millis(2), &leave);
        }
    }
    while spool.bytes() > 0 {
        assert!(!couriers.iter().any(Courier::has_ended), "a courier has died");
        spool.look_after();
        tell(&spool, &mut told);
        spool.rest(Duration::from_millis(5), &leave);
    }
}

/// A line whenever the file can be written no more, or again.
fn tell(spool: &Spool, told: &mut Condition) {
    let condition = spool.condition();
    if std::mem::discriminant(&condition) != std::mem::discriminant(told) {
        println!("{}", if condition == Condition::Durable { DURABLE } else { IN_MEMORY });
        *told = condition;
    }
}

/// `count u32 { len u32 | bytes }*`, and one byte for each in the answer; the name of the sink first.
struct Wire {
    name: &'static str,
    address: String,
    connection: Option<TcpStream>,
}

impl Wire {
    fn connected(&mut self) -> io::Result<&mut TcpStream> {
        if self.connection.is_none() {
            let mut connection = TcpStream::connect(&self.address)?;
            connection.set_read_timeout(Some(TIMEOUT))?;
            connection.write_all(&[self.name.len() as u8])?;
            connection.write_all(self.name.as_bytes())?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or_else(|| io::Error::other("not connected"))
    }

    fn exchange(&mut self, batch: &[Entry]) -> io::Result<Vec<u8>> {
        let connection = self.connected()?;
        let mut request = (batch.len() as u32).to_le_bytes().to_vec();
        for entry in batch {
            request.extend_from_slice(&(entry.json.len() as u32).to_le_bytes());
            request.extend_from_slice(&entry.json);
        }
        connection.write_all(&request)?;
        let mut answer = vec![0; batch.len()];
        connection.read_exact(&mut answer)?;
        Ok(answer)
    }
}

impl Sink for Wire {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        let fate = |byte: &u8| match byte {
            b'+' => Fate::Taken,
            b'?' => Fate::TryAgain("busy".to_owned()),
            _ => Fate::Refused("poison".to_owned()),
        };
        match self.exchange(batch) {
            Ok(answer) => Delivered::Each(answer.iter().map(fate).collect()),
            Err(error) => {
                self.connection = None;
                Delivered::Failed(Failure { reason: error.to_string(), maybe_taken: true, retry_after: None })
            }
        }
    }
}
