//! Pieces, put together. Pure: there is no ring in here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use lkm_monitor_common::{
    event::WIRE_VERSION,
    image::{PIECE, PieceHead},
};
use zerocopy::FromBytes as _;

use super::super::ring::Tampering;
use crate::model::ImageName;

/// Names that are remembered of images that were given up.
const GIVEN_UP: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Assembly {
    /// By the time of the reading, which grows.
    images: BTreeMap<ImageName, Image>,
    /// Bytes of all of them, and what they may be.
    bytes: usize,
    max_bytes: usize,
    /// Images that made room for others or grew too old, of which nobody needs to wait: the latest of them.
    given_up: VecDeque<ImageName>,
    tampering: BTreeSet<Tampering>,
}

#[derive(Debug)]
struct Image {
    bytes: Arc<Vec<u8>>,
    /// A piece is missing: what comes later cannot be put behind the others.
    is_broken: bool,
    begun: Instant,
}

impl Assembly {
    /// Holds up to so many bytes: more push out the oldest images.
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self { images: BTreeMap::new(), bytes: 0, max_bytes, given_up: VecDeque::new(), tampering: BTreeSet::new() }
    }

    /// Takes a piece in. One that the probe did not write is tampering.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let Some((head, bytes)) = read(piece) else {
            self.note_tampering(Tampering::Foreign);
            return;
        };
        let name = ImageName { id: head.image_id, tid: head.tid };
        if head.offset == 0 {
            self.release(name);
        }
        let image = self.images.entry(name).or_insert_with(|| Image {
            bytes: Arc::default(),
            is_broken: false,
            begun: Instant::now(),
        });
        if image.is_broken || image.bytes.len() as u64 != head.offset {
            image.is_broken = true;
            return;
        }
        // Nobody else has it before it is whole.
        Arc::make_mut(&mut image.bytes).extend_from_slice(bytes);
        self.bytes += bytes.len();
        while self.bytes > self.max_bytes && self.images.len() > 1 {
            let Some(oldest) = self.images.keys().next().copied() else { break };
            self.give_up(oldest);
        }
    }

    /// The image, if its first `len` bytes are here and no others.
    pub(super) fn get(&self, name: ImageName, len: u64) -> Option<Arc<Vec<u8>>> {
        let image = self.images.get(&name).filter(|image| image.bytes.len() as u64 == len)?;
        Some(Arc::clone(&image.bytes))
    }

    /// Whether it will never be here whole.
    pub(super) fn is_lost(&self, name: ImageName) -> bool {
        self.images.get(&name).map_or_else(|| self.given_up.contains(&name), |image| image.is_broken)
    }

    pub(super) fn give_up(&mut self, name: ImageName) {
        self.release(name);
        self.given_up.truncate(GIVEN_UP - 1);
        self.given_up.push_front(name);
    }

    pub(super) fn release(&mut self, name: ImageName) {
        if let Some(image) = self.images.remove(&name) {
            self.bytes -= image.bytes.len();
        }
    }

    /// Gives up what is older than that.
    pub(super) fn expire(&mut self, age: Duration) {
        let is_old = |(_, image): &(&ImageName, &Image)| image.begun.elapsed() >= age;
        let old: Vec<_> = self.images.iter().filter(is_old).map(|(name, _)| *name).collect();
        old.into_iter().for_each(|name| self.give_up(name));
    }

    pub(super) fn note_tampering(&mut self, found: Tampering) {
        self.tampering.insert(found);
    }

    pub(super) fn take_tampering(&mut self) -> BTreeSet<Tampering> {
        std::mem::take(&mut self.tampering)
    }
}

/// The head of a piece, and the bytes of the image in it.
fn read(piece: &[u8]) -> Option<(PieceHead, &[u8])> {
    let (head, rest) = PieceHead::read_from_prefix(piece).ok()?;
    let bytes = rest.get(..usize::try_from(head.len).ok()?)?;
    (head.kind == PIECE && head.version == WIRE_VERSION).then_some((head, bytes))
}

/// A piece as the probe writes it.
#[cfg(test)]
pub(super) fn piece(name: ImageName, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let (offset, len) = (offset as u64, bytes.len() as u32);
    let head =
        PieceHead { kind: PIECE, version: WIRE_VERSION, tid: name.tid, image_id: name.id, offset, len, reserved: 0 };
    [zerocopy::IntoBytes::as_bytes(&head), bytes].concat()
}

#[cfg(test)]
mod tests {
    use lkm_monitor_common::limits::PIECE_BYTES;
    use proptest::prelude::*;

    use super::*;

    fn name(tid: u32) -> ImageName {
        ImageName { id: 7, tid }
    }

    fn piece(tid: u32, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut piece = super::piece(name(tid), offset, bytes);
        // What lay there before.
        piece.resize(size_of::<PieceHead>() + PIECE_BYTES, 0xee);
        piece
    }

    fn pieces(tid: u32, image: &[u8], step: usize) -> Vec<Vec<u8>> {
        image.chunks(step).enumerate().map(|(number, bytes)| piece(tid, number * step, bytes)).collect()
    }

    proptest! {
        #[test]
        fn images_come_out_as_they_went_in_however_they_are_mixed(
            images in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..6),
            step in 1..60_usize,
            turns in proptest::collection::vec(any::<prop::sample::Index>(), 0..400),
        ) {
            let mut assembly = Assembly::new(1 << 20);
            let mut queues: Vec<_> = (0_u32..).zip(&images).map(|(tid, image)| pieces(tid, image, step).into_iter()).collect();
            for turn in turns {
                queues[turn.index(images.len())].next().into_iter().for_each(|piece| assembly.push(&piece));
            }
            queues.into_iter().flatten().for_each(|piece| assembly.push(&piece));
            for (tid, image) in (0..).zip(&images) {
                prop_assert_eq!(&*assembly.get(name(tid), image.len() as u64).unwrap(), image);
                prop_assert_eq!(assembly.get(name(tid), image.len() as u64 + 1), None, "not all of it");
                assembly.release(name(tid));
            }
            prop_assert_eq!((assembly.bytes, assembly.images.len()), (0, 0));
        }

        #[test]
        fn an_image_without_one_of_its_pieces_is_none(
            image in proptest::collection::vec(any::<u8>(), 1..300),
            step in 1..60_usize,
            lost: prop::sample::Index,
        ) {
            let mut assembly = Assembly::new(1 << 20);
            let mut pieces = pieces(1, &image, step);
            pieces.remove(lost.index(pieces.len()));
            pieces.iter().for_each(|piece| assembly.push(piece));
            prop_assert_eq!(assembly.get(name(1), image.len() as u64), None);
        }

        #[test]
        fn no_bytes_are_a_panic_and_foreign_ones_are_told(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut assembly = Assembly::new(100);
            let is_foreign = read(&bytes).is_none();
            assembly.push(&bytes);
            prop_assert_eq!(assembly.take_tampering().contains(&Tampering::Foreign), is_foreign);
        }
    }

    #[test]
    fn the_oldest_image_makes_room() {
        let mut assembly = Assembly::new(100);
        assembly.push(&piece(1, 0, &[1; 60]));
        assembly.push(&piece(2, 0, &[2; 60]));
        assert_eq!(assembly.get(name(1), 60), None);
        assert!(assembly.is_lost(name(1)) && !assembly.is_lost(name(2)) && !assembly.is_lost(name(3)));
        assert_eq!(*assembly.get(name(2), 60).unwrap(), [2; 60]);
        assembly.push(&piece(3, 0, &[3; 300]));
        assert_eq!(assembly.get(name(3), 300).unwrap().len(), 300, "the last one is always held");
        assert_eq!(assembly.bytes, 300);
    }

    #[test]
    fn a_piece_that_does_not_follow_breaks_the_image() {
        let mut assembly = Assembly::new(100);
        assembly.push(&piece(1, 0, &[1; 10]));
        assembly.push(&piece(1, 20, &[1; 10]));
        assembly.push(&piece(1, 10, &[1; 10]));
        assert!(assembly.is_lost(name(1)));
        assert_eq!(assembly.get(name(1), 20), None);
    }

    #[test]
    fn nobody_wants_an_old_image() {
        let mut assembly = Assembly::new(100);
        assembly.push(&piece(1, 0, &[1; 10]));
        assembly.expire(Duration::from_secs(3600));
        assert!(assembly.get(name(1), 10).is_some());
        assembly.expire(Duration::ZERO);
        assert_eq!((assembly.get(name(1), 10), assembly.bytes), (None, 0));
    }
}
