//! Files that dpkg puts elsewhere than packages say: `/var/lib/dpkg/diversions`, see dpkg-divert(1).
//!
//! Three lines each: the path, where the file of all other packages goes, and the package for which it is done, or `:` for the
//! administrator.

/// One diversion.
#[derive(Debug, PartialEq, Eq)]
struct Diversion {
    from: Vec<u8>,
    to: Vec<u8>,
    /// Whose own file stays at `from`.
    except: Option<Vec<u8>>,
}

/// All diversions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diversions(Vec<Diversion>);

/// The file is not made of triples of lines.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged: a diversion has three lines, and the last one has fewer")]
pub(super) struct Incomplete;

/// Whose list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lister<'a> {
    Any,
    Only(&'a [u8]),
    AnyBut(&'a [u8]),
}

/// A path that a package lists whose file lies at the path in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listing<'a> {
    pub(super) path: &'a [u8],
    lister: Lister<'a>,
}

impl Listing<'_> {
    pub(super) fn counts_for(&self, package: &[u8]) -> bool {
        match self.lister {
            Lister::Any => true,
            Lister::Only(name) => name == package,
            Lister::AnyBut(name) => name != package,
        }
    }
}

impl Diversions {
    pub(super) fn parse(content: &[u8]) -> Result<Self, Incomplete> {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        if content.is_empty() {
            return Ok(Self::default());
        }
        let mut lines = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        let mut diversions = Vec::new();
        while let Some(from) = lines.next() {
            let (Some(to), Some(by)) = (lines.next(), lines.next()) else { return Err(Incomplete) };
            diversions.push(Diversion { from, to, except: Some(by).filter(|by| by != b":") });
        }
        Ok(Self(diversions))
    }

    /// What packages may list for a file at one of these paths.
    pub(super) fn listings<'a>(&'a self, paths: &'a [Vec<u8>]) -> Vec<Listing<'a>> {
        let stays = paths.iter().filter_map(|path| {
            let lister = match self.0.iter().find(|diversion| diversion.from == *path) {
                None => Lister::Any,
                // Whatever is there now was put there by the administrator.
                Some(Diversion { except: None, .. }) => return None,
                Some(Diversion { except: Some(name), .. }) => Lister::Only(name),
            };
            Some(Listing { path, lister })
        });
        let comes = self.0.iter().filter(|diversion| paths.contains(&diversion.to)).map(|diversion| Listing {
            path: &diversion.from,
            lister: diversion.except.as_deref().map_or(Lister::Any, Lister::AnyBut),
        });
        stays.chain(comes).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_diverted_file_is_where_it_went() {
        let diversions = Diversions::parse(b"/a.ko\n/a.ko.distrib\nnvidia\n/b.ko\n/b.ko.real\n:\n").unwrap();
        let listings = |path: &[u8]| diversions.listings(&[path.to_vec()]).iter().map(owned).collect::<Vec<_>>();
        fn owned(listing: &Listing<'_>) -> (Vec<u8>, String) {
            (listing.path.to_vec(), format!("{:?}", listing.lister))
        }
        let any = |path: &'static [u8]| owned(&Listing { path, lister: Lister::Any });
        assert_eq!(listings(b"/c.ko"), [any(b"/c.ko")]);
        assert_eq!(listings(b"/a.ko"), [owned(&Listing { path: b"/a.ko", lister: Lister::Only(b"nvidia") })]);
        let gone = owned(&Listing { path: b"/a.ko", lister: Lister::AnyBut(b"nvidia") });
        assert_eq!(listings(b"/a.ko.distrib"), [any(b"/a.ko.distrib"), gone]);
        assert_eq!(listings(b"/b.ko"), []);
        assert_eq!(listings(b"/b.ko.real"), [any(b"/b.ko.real"), any(b"/b.ko")]);
    }

    #[test]
    fn who_diverts_keeps_its_own_file() {
        let of = |lister| Listing { path: b"/a", lister };
        assert!(of(Lister::Any).counts_for(b"x"));
        assert!(of(Lister::Only(b"x")).counts_for(b"x") && !of(Lister::Only(b"x")).counts_for(b"y"));
        assert!(!of(Lister::AnyBut(b"x")).counts_for(b"x") && of(Lister::AnyBut(b"x")).counts_for(b"y"));
    }

    #[test]
    fn a_part_of_one_is_damage() {
        assert_eq!(Diversions::parse(b""), Ok(Diversions::default()));
        assert_eq!(Diversions::parse(b"/a\n/b\n"), Err(Incomplete));
        assert_eq!(Diversions::parse(b"/a\n/b\nx\n/c"), Err(Incomplete));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(triples in prop::collection::vec(["[^\n]+", "[^\n]+", "[a-z]+"], 0..9)) {
            let text: String = triples.iter().flatten().map(|line| format!("{line}\n")).collect();
            let read = Diversions::parse(text.as_bytes()).unwrap().0;
            let of = |[from, to, by]: &[String; 3]| {
                Diversion { from: from.clone().into(), to: to.clone().into(), except: Some(by.clone().into()) }
            };
            prop_assert_eq!(read, triples.iter().map(of).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_are_a_panic(content: Vec<u8>, path: Vec<u8>) {
            if let Ok(diversions) = Diversions::parse(&content) {
                let _ = diversions.listings(&[path]);
            }
        }
    }
}
