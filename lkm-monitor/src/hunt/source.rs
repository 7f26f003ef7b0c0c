//! Where documents come from: files, folders of files, standard input; one JSON object a line, plain or packed.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// More than any document has. A longer line is malformed as a whole.
const MAX_LINE_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 1 << 18;
const BLOCK_BYTES: usize = 1 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A line, or what there is instead.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Whole(&'a [u8]),
    TooLong,
}

/// The files to read: those that are named, and in folders those whose names end like documents', sorted by path.
pub fn files(inputs: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for input in inputs {
        if input.is_dir() { collect(input, &mut found)? } else { found.push(input.clone()) }
    }
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        // What a link leads to may be above it.
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            collect(&path, found)?;
        } else if kind.is_file() && holds_documents(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn holds_documents(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    [".ndjson", ".jsonl", ".json", ".log"].iter().any(|ending| name.ends_with(ending))
}

/// A buffer as long as reading a file fast needs.
pub fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER_BYTES, reader)
}

/// The content of a reader, unpacked. What it begins with tells how it is packed, whatever a file is called.
pub fn unpacked(mut packed: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    let begin = packed.fill_buf()?;
    Ok(if begin.starts_with(GZIP) {
        Box::new(buffered(MultiGzDecoder::new(packed)))
    } else if begin.starts_with(ZSTD) {
        Box::new(buffered(Frames { packed: Some(packed), frame: None }))
    } else {
        Box::new(packed)
    })
}

/// Frames of zstd, one behind the other, as tools write them that append.
struct Frames<R: BufRead> {
    packed: Option<R>,
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                self.packed = self.frame.take().map(StreamingDecoder::into_inner);
            }
            let Some(mut packed) = self.packed.take() else { return Ok(0) };
            if packed.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.frame = Some(StreamingDecoder::new(packed).map_err(io::Error::other)?);
        }
    }
}

/// A piece of an input that ends with a line.
#[derive(Debug)]
pub struct Block {
    /// The number of the first line.
    first: u64,
    pub bytes: Vec<u8>,
}

impl Block {
    /// Lines with their numbers, but for empty ones.
    pub fn lines(&self) -> impl Iterator<Item = (u64, Line<'_>)> {
        let mut rest = self.bytes.as_slice();
        let lines = std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at(end);
            rest = behind;
            (!line.is_empty()).then_some(line)
        });
        lines.zip(self.first..).filter(|(line, _)| !line.trim_ascii().is_empty()).map(|(line, number)| {
            (number, if line.len() as u64 <= MAX_LINE_BYTES { Line::Whole(line) } else { Line::TooLong })
        })
    }
}

/// Hands all of the input on, piece by piece, until `take` says that it is enough. `spare` gives the memory of pieces that are done
/// with, where there are any: new memory costs more than what is read into it.
pub fn blocks(
    mut reader: impl BufRead,
    mut spare: impl FnMut() -> Option<Vec<u8>>,
    mut take: impl FnMut(Block) -> bool,
) -> io::Result<()> {
    let mut first = 1;
    loop {
        let mut bytes = spare().unwrap_or_default();
        bytes.clear();
        bytes.reserve(BLOCK_BYTES + BLOCK_BYTES / 8);
        reader.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if !bytes.ends_with(b"\n") {
            reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
        }
        if !bytes.ends_with(b"\n") {
            // The end of the input, or of a line that is too long by now.
            reader.skip_until(b'\n')?;
        }
        let lines = memchr::memchr_iter(b'\n', &bytes).count() as u64 + u64::from(!bytes.ends_with(b"\n"));
        let block = Block { first, bytes };
        first += lines;
        if !take(block) {
            return Ok(());
        }
    }
}
