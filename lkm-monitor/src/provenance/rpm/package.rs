//! What the header of a package says of one of its files.

use super::header::{Header, HeaderError, tag};
use crate::{
    model::Manager,
    provenance::{
        digest::{Algorithm, Recorded, unhex},
        owner::Owner,
    },
};

/// `RPMFILE_GHOST` of `include/rpm/rpmfiles.h`: a file that the package owns and does not bring.
const GHOST: u32 = 1 << 6;
/// `RPMFILE_STATE_NORMAL`: others were replaced by those of another package, or never installed.
const NORMAL: u8 = 0;
/// A longer one is no name, version or architecture.
const MAX_TEXT_BYTES: usize = 1024;
const TYPE_MASK: u16 = 0o170_000;
const REGULAR: u16 = 0o100_000;
/// Before there was a tag for it, digests were MD5.
const DEFAULT_ALGORITHM: u32 = 1;

/// The package as the owner of its file with this number, if that is the file with one of these names. `Err` for a damaged header.
pub(super) fn owner_of(header: &Header<'_>, file: u32, spellings: &[Vec<u8>]) -> Result<Option<Owner>, HeaderError> {
    let Some(base) = header.text_at(tag::BASE_NAMES, file)? else { return Ok(None) };
    let Some(folder) = header.number_at(tag::DIR_INDEXES, file)? else { return Ok(None) };
    let Some(folder) = header.text_at(tag::DIR_NAMES, folder)? else { return Ok(None) };
    let is_named = spellings.iter().any(|path| path.strip_prefix(folder) == Some(base));
    let state = header.byte_at(tag::FILE_STATES, file)?.unwrap_or(NORMAL);
    if !is_named || state != NORMAL {
        return Ok(None);
    }
    Ok(Some(Owner {
        manager: Manager::Rpm,
        package: short(header, tag::NAME)?.unwrap_or_default().to_vec(),
        version: version(header)?,
        architecture: short(header, tag::ARCH)?.map(<[u8]>::to_vec),
        recorded: recorded(header, file)?,
    }))
}

/// `[epoch:]version-release`.
fn version(header: &Header<'_>) -> Result<Option<Vec<u8>>, HeaderError> {
    let epoch = header.number_at(tag::EPOCH, 0)?.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let (version, release) = (short(header, tag::VERSION)?, short(header, tag::RELEASE)?);
    Ok(version.zip(release).map(|(version, release)| [epoch.as_bytes(), version, b"-", release].concat()))
}

/// A text that is kept.
fn short<'a>(header: &Header<'a>, tag: u32) -> Result<Option<&'a [u8]>, HeaderError> {
    match header.text(tag)? {
        Some(text) if text.len() > MAX_TEXT_BYTES => Err(HeaderError::Long { tag, bytes: text.len() }),
        text => Ok(text),
    }
}

/// The digest of a file. Those of links, of folders and of what is not part of the package are empty.
fn recorded(header: &Header<'_>, file: u32) -> Result<Option<Recorded>, HeaderError> {
    let is_regular = header.short_at(tag::FILE_MODES, file)?.is_some_and(|mode| mode & TYPE_MASK == REGULAR);
    let is_ghost = header.number_at(tag::FILE_FLAGS, file)?.is_some_and(|flags| flags & GHOST != 0);
    if !is_regular || is_ghost {
        return Ok(None);
    }
    let number = header.number_at(tag::FILE_DIGEST_ALGO, 0)?.unwrap_or(DEFAULT_ALGORITHM);
    let value = header.text_at(tag::FILE_DIGESTS, file)?.and_then(unhex).filter(|value| !value.is_empty());
    Ok(Algorithm::from_pgp(number).zip(value).map(|(algorithm, value)| Recorded { algorithm, value }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::fixture::{Builder, File, package},
        *,
    };
    use crate::model::DigestCheck;

    /// SHA-256 of the empty text.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn module<'a>(name: &'a str, digest: &'a str) -> File<'a> {
        File { folder: "/lib/modules/", name, digest }
    }

    fn owner(builder: Builder, file: u32, path: &str) -> Option<Owner> {
        let bytes = builder.build();
        owner_of(&Header::parse(&bytes).unwrap(), file, &[path.as_bytes().to_vec()]).unwrap()
    }

    fn check(builder: Builder) -> Option<DigestCheck> {
        owner(builder, 0, "/lib/modules/a.ko").unwrap().recorded.map(|recorded| recorded.check(b""))
    }

    #[test]
    fn a_package_owns_the_file_that_it_names() {
        let files = || [module("a.ko", ""), module("b.ko", EMPTY)];
        let found = owner(package("kernel-core", &files()).numbers(tag::EPOCH, &[4]), 1, "/lib/modules/b.ko").unwrap();
        assert_eq!(found.package, b"kernel-core");
        assert_eq!(found.version.unwrap(), b"4:1.2-3");
        assert_eq!(found.architecture.unwrap(), b"x86_64");
        assert_eq!(found.recorded.unwrap().check(b""), DigestCheck::Matches);
        for (file, path) in [(0, "/lib/modules/b.ko"), (1, "/lib/b.ko"), (1, "/lib/modules/b"), (2, "/lib/modules/")] {
            assert_eq!(owner(package("kernel-core", &files()), file, path), None, "{file} {path}");
        }
    }

    #[test]
    fn what_is_not_installed_is_not_owned() {
        let of_state = |state| package("a", &[module("a.ko", EMPTY)]).bytes(tag::FILE_STATES, &[state]);
        assert!(owner(of_state(0), 0, "/lib/modules/a.ko").is_some());
        assert_eq!(owner(of_state(1), 0, "/lib/modules/a.ko"), None, "replaced by another package's");
    }

    #[test]
    fn digests_are_of_some_algorithm() {
        fn of(algorithm: u32, digest: &str) -> Builder {
            package("a", &[module("a.ko", digest)]).numbers(tag::FILE_DIGEST_ALGO, &[algorithm])
        }
        assert_eq!(check(of(8, EMPTY)), Some(DigestCheck::Matches));
        assert_eq!(check(of(8, &EMPTY.replace('e', "f"))), Some(DigestCheck::Differs));
        assert_eq!(check(of(1, "d41d8cd98f00b204e9800998ecf8427e")), Some(DigestCheck::Matches));
        assert_eq!(check(of(10, EMPTY)), Some(DigestCheck::Differs), "of another length");
        for none in [of(2, EMPTY), of(8, ""), of(8, "xyz")] {
            assert_eq!(check(none), None);
        }
        let old = Builder::default()
            .text(tag::NAME, "old")
            .shorts(tag::FILE_MODES, &[0o100_644])
            .texts(tag::FILE_DIGESTS, &["d41d8cd98f00b204e9800998ecf8427e"])
            .numbers(tag::DIR_INDEXES, &[0])
            .texts(tag::BASE_NAMES, &["a.ko"])
            .texts(tag::DIR_NAMES, &["/lib/modules/"]);
        assert_eq!(check(old), Some(DigestCheck::Matches), "before there were others");
    }

    #[test]
    fn ghosts_and_links_have_no_content() {
        let ghost = package("a", &[module("a.ko", EMPTY)]).numbers(tag::FILE_FLAGS, &[GHOST]);
        assert_eq!(check(ghost), None);
        let link = package("a", &[module("a.ko", EMPTY)]).shorts(tag::FILE_MODES, &[0o120_777]);
        assert_eq!(check(link), None);
    }

    #[test]
    fn a_name_has_an_end() {
        let bytes = package("a", &[module("a.ko", "")]).text(tag::ARCH, &"x".repeat(MAX_TEXT_BYTES + 1)).build();
        let error = owner_of(&Header::parse(&bytes).unwrap(), 0, &[b"/lib/modules/a.ko".to_vec()]).unwrap_err();
        assert_eq!(error, HeaderError::Long { tag: tag::ARCH, bytes: MAX_TEXT_BYTES + 1 });
    }

    proptest! {
        #[test]
        fn no_change_is_a_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9), file in 0..3_u32) {
            let mut bytes = package("a", &[module("a.ko", EMPTY), module("b.ko", "")]).build();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(header) = Header::parse(&bytes) {
                let _ = owner_of(&header, file, &[b"/lib/modules/a.ko".to_vec()]);
            }
        }
    }
}
