//! Pieces of module images, in a ring of their own.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What every piece has in the place of [`EventHeader::kind`](crate::event::EventHeader::kind).
pub const PIECE: u16 = 64;

/// First bytes of a piece. The ones behind it are the image's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PieceHead {
    /// [`PIECE`].
    pub kind: u16,
    /// [`WIRE_VERSION`](crate::event::WIRE_VERSION).
    pub version: u16,
    /// The thread that loads: with `image_id`, the image's name.
    pub tid: u32,
    /// [`Image::id`](crate::section::Image::id).
    pub image_id: u64,
    /// Where in the image it begins.
    pub offset: u64,
    /// Bytes of the image in it.
    pub len: u32,
    pub reserved: u32,
}

/// A piece as it lies in the ring: what is behind `head.len` bytes is of no meaning.
#[repr(C)]
pub struct Piece<const BYTES: usize> {
    pub head: PieceHead,
    pub bytes: [u8; BYTES],
}
