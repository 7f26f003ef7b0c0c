//! What an earlier run left: a line without its end, and documents that it had no time to note as delivered.

use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt as _};

use crate::sinks::facts::Facts;

/// How far back ids are read. A batch is smaller.
pub(super) const RECENT_BYTES: u64 = 4 * 1024 * 1024;
const CHUNK: u64 = 64 * 1024;

/// Cuts what follows the last newline. Whether there was something, and how long the file is now.
pub(super) fn cut_torn_line(file: &File) -> io::Result<(bool, u64)> {
    let len = file.metadata()?.len();
    let whole = end_of_last_line(file, len)?;
    if whole < len {
        file.set_len(whole)?;
    }
    Ok((whole < len, whole))
}

fn end_of_last_line(file: &File, len: u64) -> io::Result<u64> {
    let mut end = len;
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        if let Some(newline) = memchr::memrchr(b'\n', &read(file, begin, end)?) {
            return Ok(begin + newline as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Adds the `event.id` of each whole document in the last `room` bytes. How many bytes were read.
pub(super) fn recent_ids(file: &File, room: u64, ids: &mut HashSet<String>) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let begin = len.saturating_sub(room);
    let bytes = read(file, begin, len)?;
    // The first line may have lost its beginning and the last one its end: neither is a JSON object then.
    for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        ids.extend(Facts::of(line).ok().map(|facts| facts.event.id).filter(|id| !id.is_empty()));
    }
    Ok(len - begin)
}

fn read(file: &File, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end - begin).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, begin)?;
    Ok(bytes)
}
