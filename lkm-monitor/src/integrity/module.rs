//! One `struct module`, as it lies in kernel memory.

use super::{
    layout::ModuleLayout,
    memory::{Memory, MemoryError, u32_at, u64_at},
};
use crate::model::{Extent, ModuleState};

/// `MODULE_NAME_LEN` of include/linux/moduleparam.h, where pointers take eight bytes.
const NAME_BYTES: usize = 56;
/// Structures of modules begin at such multiples (`____cacheline_aligned`).
pub(super) const ALIGNMENT: usize = 64;

/// What a module says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Where its `struct module` is.
    pub(super) address: u64,
    pub(super) name: Vec<u8>,
    pub(super) state: ModuleState,
    pub(super) taints: u64,
    /// Pieces of memory that are not empty, text first.
    pub(super) memory: Vec<Extent>,
}

impl Module {
    /// What is at `address`, if that can be a module: its state is one, and `area`, in which modules are, has the memory that it names, which
    /// has the structure itself. Nothing else in a kernel says so of itself.
    pub(super) fn parse(address: u64, bytes: &[u8], layout: &ModuleLayout, area: Extent) -> Option<Self> {
        let state = state(u32_at(bytes, layout.state)?)?;
        let mut memory = Vec::new();
        for &(base, size) in &layout.memory {
            let extent = Extent { address: u64_at(bytes, base)?, bytes: u32_at(bytes, size)?.into() };
            if extent.bytes == 0 {
                continue;
            }
            let last = extent.address.checked_add(extent.bytes - 1)?;
            if !area.contains(extent.address) || !area.contains(last) || !extent.address.is_multiple_of(4096) {
                return None;
            }
            memory.push(extent);
        }
        memory.iter().any(|extent| extent.contains(address)).then_some(())?;
        let name = bytes.get(layout.name..)?.get(..NAME_BYTES)?;
        let name = name.split(|byte| *byte == 0).next()?.to_vec();
        Some(Self { address, name, state, taints: u64_at(bytes, layout.taints)?, memory })
    }

    /// Whether its name and taints are such as a module has too, for one that was found by looks alone.
    pub(super) fn looks_loaded(&self) -> bool {
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
        !self.name.is_empty() && self.name.len() < NAME_BYTES && self.name.iter().all(plain) && self.taints >> 32 == 0
    }
}

/// `enum module_state` has had these values since it is there.
const fn state(value: u32) -> Option<ModuleState> {
    Some(match value {
        0 => ModuleState::Live,
        1 => ModuleState::Coming,
        2 => ModuleState::Going,
        3 => ModuleState::Unformed,
        _ => return None,
    })
}

/// Reads the modules at these addresses. Those that are none are left out.
pub(super) fn read_all(
    memory: &mut dyn Memory,
    addresses: &[u64],
    layout: &ModuleLayout,
    area: Extent,
) -> Result<Vec<Module>, MemoryError> {
    let mut modules = Vec::with_capacity(addresses.len());
    memory.read_each(addresses, layout.bytes, &mut |address, bytes| {
        modules.extend(bytes.and_then(|bytes| Module::parse(address, bytes, layout, area)));
    })?;
    Ok(modules)
}
