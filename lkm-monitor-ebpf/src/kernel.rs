//! Reading kernel memory by the offsets of the running kernel.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel};
use lkm_monitor_common::offsets::{KernelValues, Offsets};

/// Written by the daemon before the programs are loaded; constants to the verifier from then on.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::UNRESOLVED;

/// See [`OFFSETS`].
#[unsafe(no_mangle)]
pub(crate) static VALUES: KernelValues = KernelValues::UNRESOLVED;

/// One of the constants above. Read as volatile: the compiler must not fold in the value that it was compiled with.
#[inline(always)]
pub(crate) fn constant(value: &'static u32) -> u32 {
    // SAFETY: a reference is valid and aligned.
    unsafe { ptr::read_volatile(value) }
}

/// The offset of a kernel structure member, by its field in [`Offsets`].
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// A value of [`KernelValues`], by its field.
macro_rules! value {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::VALUES.$field)
    };
}
pub(crate) use value;

/// Reads the member `$field` of the structure at `$base` as `$ty`; zero where the member or the memory is missing.
macro_rules! member {
    ($ty:ty, $base:expr, $field:ident) => {
        $crate::kernel::read_member::<$ty>($base, $crate::kernel::offset!($field))
    };
}
pub(crate) use member;

/// Like [`member`], in the way of a [`Load`].
macro_rules! load {
    ($load:ty, $ty:ty, $base:expr, $field:ident) => {
        <$load as $crate::kernel::Load>::load::<$ty>($base, $crate::kernel::offset!($field) as u64)
    };
}
pub(crate) use load;

/// The address of the member `$field` of the structure at `$base`.
macro_rules! address {
    ($base:expr, $field:ident) => {
        $base.wrapping_add($crate::kernel::offset!($field) as u64)
    };
}
pub(crate) use address;

/// Reads a `T` at a kernel address. Unreadable memory gives zeroes: `bpf_probe_read_kernel` clears its destination.
#[inline(always)]
pub(crate) fn read<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the helper writes size_of::<T>() bytes to `value` whatever the address; T is plain data for all callers.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            ptr::with_exposed_provenance(address as usize),
        );
        value.assume_init()
    }
}

/// Reads a `T` at `base + offset`; zero where the kernel does not have the member. A null `base` needs no test of its own,
/// which would double what the verifier has to look at: nothing can be read near address zero.
#[inline(always)]
pub(crate) fn read_member<T: Copy>(base: u64, offset: u32) -> T {
    if offset == Offsets::MISSING {
        // SAFETY: all callers use integers and byte arrays, for which zero is a value.
        return unsafe { MaybeUninit::<T>::zeroed().assume_init() };
    }
    read(base.wrapping_add(offset as u64))
}

/// The current `struct task_struct *`.
#[inline(always)]
pub(crate) fn current_task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// The `struct file` behind a descriptor of this process, 0 when there is none.
#[inline(always)]
pub(crate) fn descriptor(fd: u32) -> u64 {
    let table: u64 = member!(u64, member!(u64, current_task(), task_files), files_fdt);
    if fd >= member!(u32, table, fdtable_max_fds) {
        return 0;
    }
    read(member!(u64, table, fdtable_fd).wrapping_add(fd as u64 * 8))
}

/// How a structure member is read.
pub(crate) trait Load {
    /// The member at `base + offset`, which the kernel has; zero where the memory is missing.
    fn load<T: Copy>(base: u64, offset: u64) -> T;
}

/// From a pointer whose type the verifier knows: one instruction.
pub(crate) struct Typed;

impl Load for Typed {
    #[inline(always)]
    fn load<T: Copy>(base: u64, offset: u64) -> T {
        let member: *const T = ptr::with_exposed_provenance::<u8>(base as usize).wrapping_add(offset as usize).cast();
        // SAFETY: the verifier admits only members of the structure, and makes a fault read zero. Volatile, because the kernel
        // may write there.
        unsafe { ptr::read_volatile(member) }
    }
}

/// From any address, through a helper.
pub(crate) struct Probed;

impl Load for Probed {
    #[inline(always)]
    fn load<T: Copy>(base: u64, offset: u64) -> T {
        read(base.wrapping_add(offset))
    }
}

/// The current `struct task_struct *`, typed. Only where [`KernelValues::typed_task`] says that the kernel has the helper.
#[inline(always)]
pub(crate) fn typed_task() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf().expose_provenance() as u64 }
}

/// A typed pointer as a plain number, which exported functions take.
#[inline(always)]
pub(crate) fn untyped(pointer: u64) -> u64 {
    let typed = pointer;
    read((&raw const typed).expose_provenance() as u64)
}

/// Argument `$n` of a tracing program's context. In assembly, because the compiler would join two such loads to one with a
/// computed offset, which the verifier refuses for a context.
macro_rules! argument {
    ($ctx:expr, $n:literal) => {{
        let context = aya_ebpf::EbpfContext::as_ptr($ctx);
        let value: u64;
        // SAFETY: the verifier admits only arguments that the function has.
        unsafe {
            core::arch::asm!(
                "{value} = *(u64 *)({context} + {offset})",
                value = lateout(reg) value,
                context = in(reg) context,
                offset = const 8 * $n,
            );
        }
        value
    }};
}
pub(crate) use argument;
