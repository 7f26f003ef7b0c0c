//! Raw events of the probes in a file: what a host saw can be seen again elsewhere, for a bug report or to measure.
//!
//! `MAGIC { len u32 | event }*`, little endian.

use std::io::{self, Read, Write};

use lkm_monitor_common::limits::EVENT_BYTES;

const MAGIC: &[u8; 16] = b"lkm-monitor-ev1\n";

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("it is no recording of events")]
    Magic,
    #[error("an event of {0} bytes is longer than any")]
    TooLong(u32),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder<W: Write>(W);

impl<W: Write> Recorder<W> {
    /// Begins one.
    pub fn start(mut to: W) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        Ok(Self(to))
    }

    /// Adds an event, and sees that it gets to the file.
    pub fn add(&mut self, event: &[u8]) -> io::Result<()> {
        let len = u32::try_from(event.len()).map_err(io::Error::other)?;
        self.0.write_all(&[&len.to_le_bytes(), event].concat())
    }
}

/// All events of a recording.
pub fn read(mut from: impl Read) -> Result<Vec<Vec<u8>>, RecordingError> {
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(RecordingError::Magic);
    }
    let mut events = Vec::new();
    let mut len = [0; 4];
    while from.read(&mut len[..1])? == 1 {
        from.read_exact(&mut len[1..])?;
        let len = u32::from_le_bytes(len);
        if len as usize > EVENT_BYTES {
            return Err(RecordingError::TooLong(len));
        }
        let mut event = vec![0; len as usize];
        from.read_exact(&mut event)?;
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_recorded_is_read(events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..500), 0..20)) {
            let mut file = Vec::new();
            let mut recorder = Recorder::start(&mut file).unwrap();
            events.iter().for_each(|event| recorder.add(event).unwrap());
            prop_assert_eq!(read(file.as_slice()).unwrap(), events);
        }

        #[test]
        fn no_bytes_are_a_panic(rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(rest.as_slice());
            let _ = read([MAGIC.as_slice(), &rest].concat().as_slice());
        }
    }

    #[test]
    fn what_is_no_recording_is_told() {
        assert!(matches!(read(b"0123456789abcdef".as_slice()), Err(RecordingError::Magic)));
        let long = [MAGIC.as_slice(), &u32::MAX.to_le_bytes()].concat();
        assert!(matches!(read(long.as_slice()), Err(RecordingError::TooLong(u32::MAX))));
    }
}
