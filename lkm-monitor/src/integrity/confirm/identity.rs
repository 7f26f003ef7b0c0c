//! Which findings are about one thing. What a hidden module can rewrite at any time, such as its name, has no part in that.

use crate::model::{Check, HiddenModule, HookKind, KernelFinding, KernelLook, ModuleState, Place, View};

/// Views that say nothing by themselves: an area or a symbol is looked for only of what others show, and the history may begin anew.
const WEAK: [View; 3] = [View::Vmallocinfo, View::Kallsyms, View::History];

impl KernelFinding {
    /// Whether this is about the same thing in the kernel, which may have changed meanwhile.
    pub(in crate::integrity) fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden(one), Self::Hidden(other)) => is_in_one_place(one, other),
            (Self::SystemCall(one), Self::SystemCall(other)) => (one.table, one.number) == (other.table, other.number),
            (Self::Hook(one), Self::Hook(other)) => {
                let is_one = match (one.record, other.record) {
                    (None, None) => one.target.address == other.target.address,
                    (one, other) => one == other,
                };
                one.kind == other.kind && is_one
            }
            (Self::TaintCleared(_), Self::TaintCleared(_)) => true,
            (Self::ReadingsDiffer(one), Self::ReadingsDiffer(other)) => {
                let share = |one: &[String], other: &[String]| one.iter().any(|name| other.contains(name));
                share(&one.only_whole, &other.only_whole) || share(&one.only_pieces, &other.only_pieces)
            }
            _ => false,
        }
    }

    /// Whether an earlier pass, between which and this one modules came and went, has found what can be the same.
    pub(in crate::integrity) fn is_still(&self, earlier: &Self) -> bool {
        self.is_about_the_same(earlier)
            && match (self, earlier) {
                (Self::Hidden(one), Self::Hidden(earlier)) => {
                    one.missing_from.iter().any(|view| earlier.missing_from.contains(view))
                }
                _ => true,
            }
    }

    /// Whether this says nothing that `told`, which is about the same, has not said. A view that cannot be looked at any more, or that has
    /// the module again, is no news.
    pub(super) fn is_within(&self, told: &Self) -> bool {
        let all = |new: &[String], old: &[String]| new.iter().all(|name| old.contains(name));
        let is_in = |new: &Place, old: &Place| new.address == old.address && (old.hidden || !new.hidden);
        match (self, told) {
            (Self::Hidden(new), Self::Hidden(old)) => {
                new.missing_from.iter().all(|view| old.missing_from.contains(view))
            }
            (Self::SystemCall(new), Self::SystemCall(old)) => is_in(&new.target, &old.target),
            (Self::Hook(new), Self::Hook(old)) => is_in(&new.target, &old.target),
            (Self::TaintCleared(new), Self::TaintCleared(old)) => new.bits & !old.bits == 0,
            (Self::ReadingsDiffer(new), Self::ReadingsDiffer(old)) => {
                all(&new.only_whole, &old.only_whole) && all(&new.only_pieces, &old.only_pieces)
            }
            _ => false,
        }
    }

    /// Remembers what `earlier`, which is about the same, has said.
    pub(super) fn add(&mut self, earlier: &Self) {
        fn join<T: Clone + PartialEq>(new: &mut Vec<T>, old: &[T]) {
            let more: Vec<T> = old.iter().filter(|one| !new.contains(one)).cloned().collect();
            new.extend(more);
        }
        match (self, earlier) {
            (Self::Hidden(new), Self::Hidden(old)) => join(&mut new.missing_from, &old.missing_from),
            (Self::TaintCleared(new), Self::TaintCleared(old)) => new.bits |= old.bits,
            (Self::ReadingsDiffer(new), Self::ReadingsDiffer(old)) => {
                join(&mut new.only_whole, &old.only_whole);
                join(&mut new.only_pieces, &old.only_pieces);
            }
            _ => {}
        }
    }

    /// Whether `look` would have found this if it were still there: what has shown it, and what has not had it, were looked at whole.
    pub(super) fn would_be_in(&self, look: &KernelLook) -> bool {
        match self {
            Self::Hidden(module) => {
                let is_weak = |view: &View| WEAK.contains(view);
                let by_weak = module.seen_in.iter().all(is_weak);
                let shown = module.seen_in.iter().filter(|view| by_weak || !is_weak(view));
                shown.chain(&module.missing_from).all(|view| look.is_whole(*view))
            }
            Self::SystemCall(_) => look.has_checked(Check::SystemCalls),
            Self::Hook(hook) => look.has_checked(match (hook.record, hook.kind) {
                (None, _) => Check::Tracefs,
                (_, HookKind::Ftrace) => Check::Ftrace,
                (_, HookKind::Kprobe | HookKind::Kretprobe) => Check::Kprobes,
            }),
            Self::TaintCleared(_) => look.has_checked(Check::Taint),
            Self::ReadingsDiffer(_) => look.is_whole(View::ProcModules) && look.is_whole(View::ProcModulesInPieces),
        }
    }

    /// Whether this may be a module on its way: one that comes, goes or is set up is in some views and not in others, and the history learns
    /// of an unload late.
    pub(super) fn may_be_on_its_way(&self) -> bool {
        let Self::Hidden(module) = self else { return false };
        module.state.is_some_and(|state| state != ModuleState::Live) || is_of_history(module)
    }

    /// Whether this is about a module that was loaded after the one that was told: the history knows another load of that name. Another name
    /// is no sign of another module.
    pub(super) fn is_a_later_load(&self, told: &Self) -> bool {
        let (Self::Hidden(new), Self::Hidden(old)) = (self, told) else { return false };
        let loads = new.loaded_boot_ns.zip(old.loaded_boot_ns);
        new.name == old.name && loads.is_some_and(|(new, old)| new != old)
    }

    /// Whether a module that was gone for a while can be the one that was told.
    pub(super) fn may_be_back(&self, told: &Self) -> bool {
        let (Self::Hidden(new), Self::Hidden(old)) = (self, told) else { return true };
        new.name == old.name
    }
}

fn is_of_history(module: &HiddenModule) -> bool {
    module.seen_in == [View::History]
}

/// One module has one place, as long as it is loaded. Without a place there is a name, and a load that the history knows.
fn is_in_one_place(one: &HiddenModule, other: &HiddenModule) -> bool {
    match (one.address, other.address) {
        (None, None) => {
            let of_history = is_of_history(one);
            let is_one_load = !of_history || one.loaded_boot_ns == other.loaded_boot_ns;
            one.name == other.name && of_history == is_of_history(other) && is_one_load
        }
        (one, other) => one == other,
    }
}
