//! All views of the kernel's modules, taken together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    areas,
    claims::Claims,
    files::{self, Files, Names},
    ground::{Ground, Known},
    memory::{Memory, MemoryError},
    module::{self, Module},
    scanner::Depth,
    walk::{
        MOST_MODULES, Walk, kset, list,
        pages::{self, Mapped},
        search, tree,
    },
};
use crate::model::{ModuleState, Sight, View};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    /// Modules in kernel memory, by the addresses of their `struct module`, whichever view leads there.
    pub(super) modules: BTreeMap<u64, Module>,
    /// Those of each view of kernel memory that could be looked at.
    pub(super) found: BTreeMap<View, BTreeSet<u64>>,
    /// What ways lead to and is no module, with those that lead there.
    pub(super) strange: BTreeMap<u64, BTreeSet<View>>,
    /// Pages of code there that no module calls its own, where page tables could be read.
    pub(super) others_code: Option<usize>,
    /// Those of each view that knows names only.
    pub(super) named: BTreeMap<View, Names>,
    pub(super) sights: BTreeMap<View, Sight>,
}

impl Census {
    /// Takes it. The views of kernel memory are taken before those of files, and the modules in them are looked at again behind these: one
    /// that is live both times was so while the files were read.
    pub(super) fn take(
        root: &Path,
        kernel: &mut Known<(&mut dyn Memory, &Ground)>,
        depth: &mut Depth<'_>,
    ) -> Result<Self, MemoryError> {
        let mut census = Self::default();
        match kernel {
            Ok((memory, ground)) => census.look_at_memory(*memory, ground)?,
            Err(why) => {
                for view in [View::Vmallocinfo, View::List, View::AddressTree, View::Kset, View::Memory] {
                    census.sights.insert(view, Sight::Unavailable { why: why.clone() });
                }
            }
        }
        census.put(View::ProcModules, files::proc_modules(root));
        census.put(View::ProcModulesInPieces, files::proc_modules_in_pieces(root));
        census.put(View::SysModule, files::sys_module(root));
        if let Depth::Deep(symbols) = depth {
            census.put(View::Kallsyms, files::kallsyms(symbols));
        }
        if let Ok((memory, ground)) = kernel {
            census.look_at_areas(root, *memory, ground)?;
            census.look_again(*memory, ground)?;
        }
        Ok(census)
    }

    fn put(&mut self, view: View, files: Files) {
        if !matches!(files.sight, Sight::Unavailable { .. }) {
            self.named.insert(view, files.names);
        }
        self.sights.insert(view, files.sight);
    }

    fn look_at_memory(&mut self, memory: &mut dyn Memory, ground: &Ground) -> Result<(), MemoryError> {
        let list = ground.list.as_ref().map(|head| list::walk(memory, *head, &ground.module));
        let list = walked_or_unknown(list)?;
        let tree = ground.tree.as_ref().map(|(root, layout)| tree::walk(memory, *root, layout));
        let tree = walked_or_unknown(tree)?;
        let kset = ground.kset.as_ref().map(|(pointer, layout)| kset::walk(memory, *pointer, layout));
        let kset = walked_or_unknown(kset)?;
        let walks = [(View::List, list), (View::AddressTree, tree), (View::Kset, kset)];
        let ways = walks.iter().filter_map(|(_, walk)| walk.as_ref().ok());
        let addresses: BTreeSet<u64> = ways.flat_map(|walk| walk.modules.iter().copied()).collect();
        let is_cut = addresses.len() > MOST_MODULES;
        let addresses: Vec<u64> = addresses.into_iter().take(MOST_MODULES).collect();
        let mut known = module::read_all(memory, &addresses, &ground.module, ground.area)?;
        for (view, mut walk) in walks {
            if let Ok(walk) = &mut walk
                && is_cut
            {
                walk.broken
                    .get_or_insert_with(|| format!("with the others it leads to more than {MOST_MODULES} modules"));
            }
            self.walked(view, walk, &known);
        }
        let sight = match &ground.pages {
            Ok(tables) => match pages::mapped(memory, tables, ground.area)? {
                Ok(mapped) => self.search(memory, &mapped, &mut known, ground)?,
                Err(why) => Sight::Unavailable { why },
            },
            Err(why) => Sight::Unavailable { why: why.clone() },
        };
        self.sights.insert(View::Memory, sight);
        self.modules = known.into_iter().map(|module| (module.address, module)).collect();
        Ok(())
    }

    /// Adds what lies in mapped memory to the modules that are known. Of those each could be read: if it is not mapped, the page tables say
    /// something else than the processor does, or it went meanwhile.
    fn search(
        &mut self,
        memory: &mut dyn Memory,
        mapped: &Mapped,
        known: &mut Vec<Module>,
        ground: &Ground,
    ) -> Result<Sight, MemoryError> {
        let all = &mapped.all;
        let is_mapped = |address: u64| {
            let before = all.partition_point(|piece| piece.address <= address).checked_sub(1);
            before.and_then(|before| all.get(before)).is_some_and(|piece| piece.contains(address))
        };
        let agrees = known.iter().all(|module| is_mapped(module.address));
        let searched = search::unknown(memory, all, known, &ground.module, ground.area)?;
        known.extend(searched.modules);
        let claims = Claims::of(&*known, |_| true);
        let is_others = |page: &u64| claims.owner(*page).is_none();
        self.others_code = Some(mapped.code.iter().flat_map(pages::each).filter(is_others).count());
        let found: BTreeSet<u64> = known.iter().map(|module| module.address).filter(|at| is_mapped(*at)).collect();
        let count = found.len();
        self.found.insert(View::Memory, found);
        Ok(match searched.doubt {
            _ if !agrees => {
                Sight::Unavailable { why: "the page tables do not agree with the memory that can be read".to_owned() }
            }
            _ if searched.is_cut => {
                Sight::Incomplete { count, why: format!("more than {MOST_MODULES} modules lie there that no list has") }
            }
            Some(why) => Sight::Odd { count, why },
            None => Sight::Whole { count },
        })
    }

    /// The file tells no names: a module is there if its code lies in one of the areas.
    fn look_at_areas(&mut self, root: &Path, memory: &mut dyn Memory, ground: &Ground) -> Result<(), MemoryError> {
        let mut key = None;
        if let Ok(address) = ground.pointer_key {
            key = memory.read_u64(address)?.zip(memory.read_u64(address.wrapping_add(8))?);
        }
        let texts = self.modules.values().filter_map(|module| Some((module.address, *module.memory.first()?)));
        let sight = match areas::holding(root, key.map(<[u64; 2]>::from), &texts.collect()) {
            Ok((found, broken)) => {
                let count = found.len();
                self.found.insert(View::Vmallocinfo, found);
                broken.map_or(Sight::Whole { count }, |why| Sight::Incomplete { count, why })
            }
            Err(why) => Sight::Unavailable { why },
        };
        self.sights.insert(View::Vmallocinfo, sight);
        Ok(())
    }

    /// A way that ends where it ought to shows all that is on it, also where somebody has added what is no module.
    fn walked(&mut self, view: View, walk: Result<Walk, &String>, known: &[Module]) {
        let walk = match walk {
            Ok(walk) => walk,
            Err(why) => {
                self.sights.insert(view, Sight::Unavailable { why: why.clone() });
                return;
            }
        };
        let is_known = |address: &u64| known.binary_search_by_key(address, |module| module.address).is_ok();
        let (found, strange): (BTreeSet<u64>, BTreeSet<u64>) = walk.modules.into_iter().partition(is_known);
        let count = found.len();
        let sight = match walk.broken {
            // The last one may be where somebody has cut the rest off, and is none.
            Some(why) => Sight::Incomplete { count, why },
            None if strange.is_empty() => Sight::Whole { count },
            None => {
                let why = format!("{} more of its members are no modules", strange.len());
                for address in strange {
                    self.strange.entry(address).or_default().insert(view);
                }
                Sight::Odd { count, why }
            }
        };
        self.sights.insert(view, sight);
        self.found.insert(view, found);
    }

    /// Of a module that is not live both times the other state counts, and one that is gone was not there. What it is called it may change
    /// itself. Nor was there what is no module at one time alone.
    fn look_again(&mut self, memory: &mut dyn Memory, ground: &Ground) -> Result<(), MemoryError> {
        let addresses: Vec<u64> = self.modules.keys().copied().collect();
        let mut again = module::read_all(memory, &addresses, &ground.module, ground.area)?.into_iter().peekable();
        self.modules.retain(|address, module| {
            let Some(later) = again.next_if(|later| later.address == *address) else { return false };
            if module.state == ModuleState::Live {
                module.state = later.state;
            }
            true
        });
        let strange: Vec<u64> = self.strange.keys().copied().collect();
        for module in module::read_all(memory, &strange, &ground.module, ground.area)? {
            self.strange.remove(&module.address);
        }
        Ok(())
    }
}

/// A failure to read memory at all is another thing than not to know where.
fn walked_or_unknown(walk: Result<Result<Walk, MemoryError>, &String>) -> Result<Result<Walk, &String>, MemoryError> {
    match walk {
        Ok(walk) => walk.map(Ok),
        Err(why) => Ok(Err(why)),
    }
}
