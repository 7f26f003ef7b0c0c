//! The name that a module will have.

use super::sections::cut;
use crate::model::Bytes;

/// `MODULE_NAME_LEN`: 64 less the size of a long.
const MAX_NAME_BYTES: usize = 60;

/// `name` of the `struct module` that `.gnu.linkonce.this_module` holds. `None` if there is none.
///
/// `modpost` writes the structure with few members: the name, and functions, which are relocations and so zeros in the file. The name comes
/// behind the state and a list of two pointers, in every kernel since 2.6. A kernel with another order (`__randomize_layout`) has zeros there
/// with some luck, and then the name is the first that is not zero.
pub(super) fn name(content: &[u8], is_64_bit: bool) -> Option<Bytes> {
    let (offset, long_bytes) = if is_64_bit { (24, 8) } else { (12, 4) };
    let max_bytes = MAX_NAME_BYTES + 4 - long_bytes;
    let usual = content.get(offset..).filter(|name| name.first().is_some_and(|byte| *byte != 0));
    let first = || content.iter().position(|byte| *byte != 0).and_then(|start| content.get(start..));
    let rest = usual.or_else(first)?;
    // The kernel would read on to a NUL behind the member: nobody knows where that is once it is loaded.
    let member = rest.get(..max_bytes + 1).unwrap_or(rest);
    Some(cut(member.split(|byte| *byte == 0).next()?, max_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::builder::this_module;

    #[test]
    fn the_name_is_where_the_kernel_has_it() {
        assert_eq!(name(&this_module(24, "dummy"), true), Some(Bytes::whole("dummy")));
        assert_eq!(name(&this_module(12, "dummy"), false), Some(Bytes::whole("dummy")));
        // What is before it is overwritten by the kernel, and what is behind it is another member.
        let mut module = this_module(24, "dummy");
        module[8] = b'x';
        module[90] = b'y';
        assert_eq!(name(&module, true), Some(Bytes::whole("dummy")));
    }

    #[test]
    fn in_another_order_the_name_is_what_is_not_zero() {
        assert_eq!(name(&this_module(640, "dummy"), true), Some(Bytes::whole("dummy")));
        assert_eq!(name(&[0; 900], true), None);
        assert_eq!(name(b"", true), None);
    }

    #[test]
    fn a_name_without_an_end_is_cut() {
        let long = "x".repeat(56);
        assert_eq!(name(&this_module(24, &long), true), Some(Bytes::whole(long.as_bytes())));
        let cut = Bytes { bytes: long.clone().into(), truncated: true };
        assert_eq!(name(&this_module(24, &"x".repeat(400)), true), Some(cut));
        assert_eq!(name(&this_module(24, &long)[..30], true), Some(Bytes::whole("xxxxxx")));
    }
}
