//! Module images, copied out of kernel memory before the kernel looks at them.

use core::ptr;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_probe_read_kernel};
use lkm_monitor_common::{
    counter::Counter,
    event::WIRE_VERSION,
    image::{PIECE, Piece, PieceHead},
    limits::{IMAGE_BYTES, LARGE_PIECE_BYTES, MAX_IMAGE_BYTES, PIECE_BYTES},
};

use crate::{kernel::constant, maps::IMAGES, stream::count};

/// Bytes that are kept of an image, 0 for none. Written by the daemon before the programs are loaded.
#[unsafe(no_mangle)]
static IMAGE_LIMIT_BYTES: u32 = IMAGE_BYTES;

const LARGE: u64 = LARGE_PIECE_BYTES as u64;
const PAGE: u64 = PIECE_BYTES as u64;

/// Puts an image into its ring, piece by piece, as far as there is room. The bytes that got there, from the first one on.
///
/// What is lost ends it, so what is there has no gap. This and the functions below are checked by the verifier each on its own, so that it
/// does not follow what a piece is made of for as many pieces as there may be: that takes it minutes.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn capture_image(image: u64, size: u64, id: u64) -> u64 {
    let limit = constant(&IMAGE_LIMIT_BYTES) as u64;
    let wanted = if size < limit { size } else { limit };
    for piece in 0..MAX_IMAGE_BYTES as u64 / LARGE {
        let at = piece * LARGE;
        if at + LARGE > wanted {
            break;
        }
        if put_large(image + at, id, at) == 0 {
            return at;
        }
    }
    let rest = wanted & (LARGE - 1);
    let begin = wanted - rest;
    begin + put_pages(image + begin, rest, id, begin)
}

/// Puts less than a large piece there, by pages. The bytes that got there.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_pages(address: u64, bytes: u64, id: u64, offset: u64) -> u64 {
    for piece in 0..LARGE / PAGE {
        let at = piece * PAGE;
        if at >= bytes {
            break;
        }
        if put_page(address + at, bytes - at, id, offset + at) == 0 {
            return at;
        }
    }
    bytes
}

/// Whether a large piece got into the ring.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_large(address: u64, id: u64, offset: u64) -> u32 {
    put::<LARGE_PIECE_BYTES>(address, LARGE, id, offset)
}

/// Whether a page got into the ring, of which at most `left` bytes count. It is read whole: kernels allocate memory for images in pages.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_page(address: u64, left: u64, id: u64, offset: u64) -> u32 {
    put::<PIECE_BYTES>(address, if left < PAGE { left } else { PAGE }, id, offset)
}

#[inline(always)]
fn put<const BYTES: usize>(address: u64, len: u64, image_id: u64, offset: u64) -> u32 {
    let Some(mut piece) = IMAGES.reserve::<Piece<BYTES>>(0) else {
        count(Counter::ImagesCut);
        return 0;
    };
    let tid = bpf_get_current_pid_tgid() as u32;
    let head = PieceHead { kind: PIECE, version: WIRE_VERSION, tid, image_id, offset, len: len as u32, reserved: 0 };
    let place = piece.as_mut_ptr();
    // SAFETY: the reserved record has room for a head and BYTES; the helper checks the source.
    let failed = unsafe {
        (&raw mut (*place).head).write(head);
        let bytes = (&raw mut (*place).bytes).cast();
        bpf_probe_read_kernel(bytes, BYTES as u32, ptr::with_exposed_provenance(address as usize))
    };
    if failed != 0 {
        count(Counter::ImagesCut);
        piece.discard(0);
        return 0;
    }
    piece.submit(0);
    1
}
