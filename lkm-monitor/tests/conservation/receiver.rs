//! A receiver with every fault that a receiver can have, and an exact memory.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::carrier::is_poison;

/// How often a document came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) times: u32,
    /// Answers that said so, and may not have got through.
    pub(crate) replies_lost: u32,
}

#[derive(Default)]
struct Memory {
    taken: BTreeMap<(String, u64), Taken>,
    /// By sink: what was answered last. Who is killed then may not have noted it.
    last: HashMap<String, Vec<u64>>,
    batches: u64,
    /// Connections that were taken and have not ended.
    serving: u32,
    /// Connections of our own, which come behind all that were made before.
    visits: u32,
    faultless_from: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    address: String,
    memory: Arc<(Mutex<Memory>, Condvar)>,
}

/// What happens to a batch.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Each second document is to come later.
    Busy,
    /// Nothing is taken, and nothing answered.
    Deaf,
    /// All is taken, and nothing answered.
    Mute,
    /// All is taken, and half of it answered.
    Cut,
    /// The answer comes byte by byte.
    Slow,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("know where").to_string();
        let receiver = Self { address, memory: Arc::default() };
        let server = receiver.clone();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                server.note(|memory| memory.serving += 1);
                thread::spawn(move || {
                    // A connection ends with an error whenever the other end is killed.
                    drop(server.serve(connection));
                    server.note(|memory| memory.serving -= 1);
                });
            }
        });
        receiver
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until so many documents have come.
    pub(crate) fn wait_for(&self, documents: u64, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (memory, came) = &*self.memory;
        let mut memory = memory.lock().expect("a whole memory");
        while (memory.taken.len() as u64) < documents {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {} documents came", memory.taken.len());
            memory = came.wait_timeout(memory, left).expect("a whole memory").0;
        }
    }

    fn note(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.memory.0.lock().expect("a whole memory"));
        self.memory.1.notify_all();
    }

    /// The other end was killed: what was answered last may not have been noted there. What it had sent before is taken first.
    pub(crate) fn note_kill(&self) {
        let (memory, came) = &*self.memory;
        let visits = memory.lock().expect("a whole memory").visits;
        let mut visit = TcpStream::connect(&self.address).expect("visit");
        visit.write_all(&[0]).expect("say nobody's name");
        let memory = memory.lock().expect("a whole memory");
        let is_under_way = |memory: &mut Memory| memory.visits == visits || memory.serving > 0;
        let memory = &mut *came.wait_while(memory, is_under_way).expect("a whole memory");
        for (sink, numbers) in memory.last.drain() {
            for number in numbers {
                memory.taken.entry((sink.clone(), number)).or_default().replies_lost += 1;
            }
        }
    }

    /// From the document with this number on, all is well: the end must come.
    pub(crate) fn end_faults_at(&self, number: u64) {
        self.memory.0.lock().expect("a whole memory").faultless_from = Some(number);
    }

    pub(crate) fn taken(&self, sink: &str) -> BTreeMap<u64, Taken> {
        let memory = self.memory.0.lock().expect("a whole memory");
        let of_sink = memory.taken.iter().filter(|((of, _), taken)| of == sink && taken.times > 0);
        of_sink.map(|((_, number), taken)| (*number, *taken)).collect()
    }

    fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        let mut len = [0];
        connection.read_exact(&mut len)?;
        let mut name = vec![0; len[0].into()];
        connection.read_exact(&mut name)?;
        let sink = String::from_utf8(name).map_err(io::Error::other)?;
        if sink.is_empty() {
            self.note(|memory| memory.visits += 1);
            return Ok(());
        }
        loop {
            let mut count = [0; 4];
            connection.read_exact(&mut count)?;
            let numbers: Vec<u64> =
                (0..u32::from_le_bytes(count)).map(|_| read_number(&mut connection)).collect::<io::Result<_>>()?;
            let fault = self.fault(&numbers);
            if fault == Fault::Deaf {
                return Ok(());
            }
            let answer: Vec<u8> = numbers
                .iter()
                .enumerate()
                .map(|(at, number)| match fault {
                    _ if is_poison(*number) => b'!',
                    Fault::Busy if at % 2 == 1 => b'?',
                    _ => b'+',
                })
                .collect();
            let answered = match fault {
                Fault::Mute => 0,
                Fault::Cut => answer.len() / 2,
                _ => answer.len(),
            };
            self.take(&sink, &numbers, &answer, answered < answer.len());
            if fault == Fault::Slow {
                for byte in &answer {
                    connection.write_all(std::slice::from_ref(byte))?;
                    connection.flush()?;
                }
                continue;
            }
            connection.write_all(&answer[..answered])?;
            if answered < answer.len() {
                return Ok(());
            }
        }
    }

    /// One of four batches meets with a fault, and now and then a hundred in a row find nobody.
    fn fault(&self, numbers: &[u64]) -> Fault {
        let mut memory = self.memory.0.lock().expect("a whole memory");
        memory.batches += 1;
        let is_last = memory.faultless_from.is_some_and(|from| numbers.contains(&from));
        match memory.batches {
            _ if is_last => Fault::None,
            batches if batches % 1000 > 900 => Fault::Deaf,
            batches => match batches.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 {
                0 => Fault::Busy,
                1 => Fault::Deaf,
                2 => Fault::Mute,
                3 => Fault::Cut,
                4 => Fault::Slow,
                _ => Fault::None,
            },
        }
    }

    fn take(&self, sink: &str, numbers: &[u64], answer: &[u8], lost: bool) {
        let (memory, came) = &*self.memory;
        let mut memory = memory.lock().expect("a whole memory");
        let taken: Vec<u64> =
            numbers.iter().zip(answer).filter(|(_, answer)| **answer == b'+').map(|(number, _)| *number).collect();
        for number in &taken {
            let known = memory.taken.entry((sink.to_owned(), *number)).or_default();
            known.times += 1;
            known.replies_lost += u32::from(lost);
        }
        // A batch is noted as a whole: until then, all that was answered of it counts.
        let last = memory.last.entry(sink.to_owned()).or_default();
        last.extend(taken);
        let surplus = last.len().saturating_sub(1000);
        last.drain(..surplus);
        came.notify_all();
    }
}

/// The number that a document begins with.
fn read_number(connection: &mut TcpStream) -> io::Result<u64> {
    let mut len = [0; 4];
    connection.read_exact(&mut len)?;
    let mut document = vec![0; u32::from_le_bytes(len) as usize];
    connection.read_exact(&mut document)?;
    let digits: String = document.iter().map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(io::Error::other)
}
