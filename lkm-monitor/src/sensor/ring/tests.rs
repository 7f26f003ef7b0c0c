use std::{fs::File, os::unix::fs::FileExt as _};

use super::*;

const SIZE_BYTES: u32 = 8192;

/// A file with the layout of a ring's map. Not mapped twice in a row: tests stay away from the end.
struct Kernel {
    file: File,
    written: usize,
}

impl Kernel {
    fn with_ring() -> (Self, Ring) {
        let file = tempfile::tempfile().unwrap();
        file.set_len((2 * PAGE_BYTES) as u64 + 2 * u64::from(SIZE_BYTES)).unwrap();
        let ring = Ring::open(file.try_clone().unwrap().into(), SIZE_BYTES).unwrap();
        (Self { file, written: 0 }, ring)
    }

    /// What the kernel does between `bpf_ringbuf_reserve` and `bpf_ringbuf_submit`.
    fn write(&mut self, bits: u32, record: &[u8]) {
        let at = (2 * PAGE_BYTES + self.written % SIZE_BYTES as usize) as u64;
        self.file.write_all_at(&(record.len() as u32 | bits).to_ne_bytes(), at).unwrap();
        self.file.write_all_at(record, at + HEADER_BYTES as u64).unwrap();
        self.written_to(self.written + (HEADER_BYTES + record.len()).next_multiple_of(8));
    }

    fn written_to(&mut self, position: usize) {
        self.written = position;
        self.file.write_all_at(&position.to_ne_bytes(), PAGE_BYTES as u64).unwrap();
    }

    fn set_read(&self, position: usize) {
        self.file.write_all_at(&position.to_ne_bytes(), 0).unwrap();
    }

    fn read(&self) -> usize {
        let mut position = [0; size_of::<usize>()];
        self.file.read_exact_at(&mut position, 0).unwrap();
        usize::from_ne_bytes(position)
    }
}

#[test]
fn records_are_read_in_order_and_their_room_is_given_back() {
    let (mut kernel, mut ring) = Kernel::with_ring();
    assert_eq!(ring.next(), Ok(None));
    kernel.write(0, b"first");
    kernel.write(DISCARDED, b"not this one");
    kernel.write(0, b"the third");
    assert!(!ring.is_empty());
    assert_eq!(ring.next(), Ok(Some(b"first".as_slice())));
    assert_eq!(kernel.read(), 16);
    assert_eq!(ring.next(), Ok(Some(b"the third".as_slice())));
    assert_eq!(ring.next(), Ok(None));
    assert!(ring.is_empty() && kernel.read() == kernel.written);
}

#[test]
fn a_record_that_is_being_written_is_waited_for() {
    let (mut kernel, mut ring) = Kernel::with_ring();
    kernel.write(BUSY, b"begun");
    assert_eq!(ring.next(), Ok(None));
    assert!(!ring.is_empty());
    kernel.written_to(0);
    kernel.write(0, b"begun");
    assert_eq!(ring.next(), Ok(Some(b"begun".as_slice())));
}

#[test]
fn a_position_that_was_moved_is_put_back_and_nothing_is_lost() {
    for moved in [0, 16, 4096, usize::MAX] {
        let (mut kernel, mut ring) = Kernel::with_ring();
        kernel.write(0, b"one");
        assert_eq!(ring.next(), Ok(Some(b"one".as_slice())));
        kernel.write(0, b"two");
        let read = kernel.read() + 16;
        kernel.set_read(if moved == 16 { read + 16 } else { moved });
        assert_eq!(ring.next(), Err(Tampering::Moved), "{moved}");
        assert_eq!(ring.next(), Ok(Some(b"two".as_slice())));
        assert_eq!(kernel.read(), read);
    }
}

#[test]
fn what_was_written_over_is_left_out() {
    // As many bytes as there is room for, with one that the kernel keeps free; more than that; a position that went back.
    for written in [SIZE_BYTES as usize, SIZE_BYTES as usize * 9 + 64, 0_usize.wrapping_sub(64)] {
        let (mut kernel, mut ring) = Kernel::with_ring();
        kernel.write(0, b"lost");
        kernel.written_to(written);
        assert_eq!(ring.next(), Err(Tampering::Overwritten), "{written}");
        assert!(ring.is_empty() && kernel.read() == written);
        kernel.write(0, b"next");
        assert_eq!(ring.next(), Ok(Some(b"next".as_slice())));
    }
}

#[test]
fn a_record_is_no_longer_than_what_was_written() {
    let (mut kernel, mut ring) = Kernel::with_ring();
    kernel.write(0, b"one");
    kernel.file.write_all_at(&1_300_000_u32.to_ne_bytes(), 2 * PAGE_BYTES as u64).unwrap();
    assert_eq!(ring.next(), Err(Tampering::Overwritten));
    assert_eq!(ring.next(), Ok(None));
}
