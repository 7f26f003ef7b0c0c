//! Reading files of a database: whole, or not at all.

use std::{
    io::{self, Read as _},
    path::Path,
};

use crate::inspect::regular;

const CHUNK_BYTES: usize = 64 << 10;

/// A regular file of at most `max_bytes`. A longer one is an error of kind `FileTooLarge`.
pub(super) fn whole(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let content = regular::read(path, max_bytes.saturating_add(1))?;
    if content.len() as u64 > max_bytes {
        let reason = format!("it has more than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(content)
}

/// Whether a regular file holds just these bytes.
pub(super) fn holds(path: &Path, content: &[u8]) -> io::Result<bool> {
    let (mut file, metadata) = regular::open(path)?;
    if metadata.len() != content.len() as u64 {
        return Ok(false);
    }
    let mut buffer = vec![0; CHUNK_BYTES];
    for chunk in content.chunks(CHUNK_BYTES) {
        let (read, _) = buffer.split_at_mut(chunk.len());
        file.read_exact(read)?;
        if read != chunk {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_unsaid() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(whole(file.path(), 5).unwrap(), b"12345");
        assert_eq!(whole(file.path(), 4).unwrap_err().to_string(), "it has more than 4 bytes");
    }

    #[test]
    fn one_byte_makes_a_difference() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut content = vec![7; 2 * CHUNK_BYTES + 5];
        std::fs::write(file.path(), &content).unwrap();
        assert!(holds(file.path(), &content).unwrap());
        assert!(!holds(file.path(), &content[1..]).unwrap());
        for at in [0, CHUNK_BYTES, 2 * CHUNK_BYTES + 4] {
            content[at] = 8;
            assert!(!holds(file.path(), &content).unwrap());
            content[at] = 7;
        }
    }
}
