//! Kernel taints that a module carries: bits of `module->taints` (include/linux/panic.h;
//! Documentation/admin-guide/tainted-kernels.rst).

use super::ModuleFacts;

/// P: the license is not compatible with the GPL.
pub const PROPRIETARY: u64 = 1;
/// F: loaded by force.
pub const FORCED_LOAD: u64 = 1 << 1;
/// R: unloaded by force.
pub const FORCED_UNLOAD: u64 = 1 << 3;
/// C: from the staging tree.
pub const STAGING: u64 = 1 << 10;
/// O: built outside the kernel's tree.
pub const OUT_OF_TREE: u64 = 1 << 12;
/// E: unsigned, or signed with a key that the kernel does not know.
pub const UNSIGNED: u64 = 1 << 13;

/// The kernel's letter for each bit.
const LETTERS: &[u8] = b"PFSRMBUDAWCIOELKXTNJ";

impl ModuleFacts {
    /// Whether any of `bits` is set.
    pub fn is_tainted(&self, bits: u64) -> bool {
        self.taints.is_some_and(|taints| taints & bits != 0)
    }

    /// The letters of the taints, as /proc/modules shows them; empty when there are none or they are not known.
    pub fn taint_flags(&self) -> String {
        letters(self.taints.unwrap_or_default())
    }
}

/// The letters of taints, in the order of their bits. Bits that have no letter here are left out.
pub fn letters(taints: u64) -> String {
    let set = |&(bit, _): &(usize, &u8)| taints & (1 << bit) != 0;
    LETTERS.iter().enumerate().filter(set).map(|(_, &letter)| char::from(letter)).collect()
}

/// The bits of letters; `None` where one of them is none of the kernel's.
pub fn bits(letters: &str) -> Option<u64> {
    let bit = |letter: u8| LETTERS.iter().position(|known| *known == letter);
    letters.bytes().try_fold(0, |bits, letter| Some(bits | 1 << bit(letter)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_bits() {
        let flags = |taints| ModuleFacts { taints, ..ModuleFacts::default() }.taint_flags();
        assert_eq!(flags(Some(OUT_OF_TREE | UNSIGNED)), "OE");
        assert_eq!(flags(Some(PROPRIETARY | FORCED_LOAD | FORCED_UNLOAD)), "PFR");
        assert_eq!(flags(Some(STAGING)), "C");
        assert_eq!(flags(Some(u64::MAX)).len(), LETTERS.len());
        assert_eq!(flags(None), "");
        assert_eq!(bits("OE"), Some(OUT_OF_TREE | UNSIGNED));
        assert_eq!(bits(&letters(u64::MAX)), Some((1 << LETTERS.len()) - 1));
        assert_eq!((bits(""), bits("Oe")), (Some(0), None));
    }
}
