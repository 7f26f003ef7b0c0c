//! Whether a name is watched. [`may_be_watched`] runs for every file that is opened for writing, and every name that is made or
//! removed: a few instructions on lengths and on one byte, without a helper. Only where these fit, [`is_watched`] compares names.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use lkm_monitor_common::{
    limits::{WATCHED_ENDINGS, WATCHED_NAME_BYTES},
    watch::{Name, Watch, name_bits},
};

use crate::{
    kernel::{Load, load, member, offset, read},
    maps::WATCHED_NAMES,
};

/// Names of so many bytes lie in their dentry, on all kernels (`DNAME_INLINE_LEN`, which counts the NUL).
const INLINE_BYTES: u64 = 31;

/// Filled by the daemon, at any time.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.watch")]
static mut WATCH: Watch = Watch::NOTHING;

/// A field of [`WATCH`].
macro_rules! watch {
    ($field:ident $([$n:expr])?) => {
        // SAFETY: an aligned number within WATCH (`n` is less than 64). Volatile: the daemon writes it.
        unsafe { core::ptr::read_volatile(&raw const WATCH.$field $([$n])?) }
    };
}

/// Whether the name that a `struct dentry` has now may be watched: cheap, and right if it says no.
///
/// Lengths count modulo 64: a longer name costs the look at it.
#[inline(always)]
pub(crate) fn may_be_watched<L: Load>(dentry: u64) -> bool {
    let len = load!(L, u32, dentry, dentry_name_len) as u64;
    let parent = load!(L, u64, dentry, dentry_parent);
    let parent_len = load!(L, u32, parent, dentry_name_len) as u64;
    let last = len.wrapping_sub(1);
    if last >= INLINE_BYTES {
        return true;
    }
    let name = offset!(dentry_inline_name) as u64;
    // The verifier takes constant offsets only.
    let word: u64 = match last >> 3 {
        0 => L::load(dentry, name),
        1 => L::load(dentry, name + 8),
        2 => L::load(dentry, name + 16),
        _ => L::load(dentry, name + 24),
    };
    let last_byte = word >> ((last & 7) * 8);
    // By `last`, of which the verifier knows the bounds.
    let hints = watch!(name_lengths[last as usize])
        | watch!(folder_lengths[(parent_len & 63) as usize])
        | watch!(last_bytes[(last_byte & 63) as usize]);
    hints != 0
}

/// Whether the name that a `struct dentry` has now is watched.
#[inline(always)]
pub(crate) fn is_watched(dentry: u64) -> bool {
    let (name, len) = (member!(u64, dentry, dentry_name), member!(u32, dentry, dentry_name_len));
    let parent: u64 = member!(u64, dentry, dentry_parent);
    ends_watched(name, len)
        || bits(name, len) & (name_bits::FILE | name_bits::FOLDER) != 0
        || bits(member!(u64, parent, dentry_name), member!(u32, parent, dentry_name_len)) & name_bits::FOLDER != 0
}

/// Whether a watched folder may lie below the one that a `struct dentry` names.
#[inline(always)]
pub(crate) fn is_above_watched(dentry: u64) -> bool {
    bits(member!(u64, dentry, dentry_name), member!(u32, dentry, dentry_name_len)) & name_bits::PARENT != 0
}

#[inline(always)]
fn ends_watched(name: u64, len: u32) -> bool {
    // Of a shorter name something in front of it, which no ending is compared with.
    let last: u64 = read(name.wrapping_add(len as u64).wrapping_sub(8));
    for n in 0..WATCHED_ENDINGS {
        let ending = watch!(endings[n]);
        if ending.mask != 0 && len as u64 >= ending.len && last & ending.mask == ending.value {
            return true;
        }
    }
    false
}

/// What is known of a name.
#[inline(always)]
fn bits(name: u64, len: u32) -> u32 {
    if len == 0 || len >= WATCHED_NAME_BYTES as u32 {
        return 0;
    }
    let mut key: Name = [0; WATCHED_NAME_BYTES];
    // SAFETY: the helper writes no more than the key has, and checks the source.
    unsafe {
        bpf_probe_read_kernel_str(
            key.as_mut_ptr().cast(),
            WATCHED_NAME_BYTES as u32,
            core::ptr::with_exposed_provenance(name as usize),
        );
        WATCHED_NAMES.get(&key).copied().unwrap_or(0)
    }
}
