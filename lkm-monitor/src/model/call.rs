//! A module system call, whatever probes saw of it.

use super::{Bytes, Capture, Content, ExaminedImage, FileFacts, ModuleRequest, ProcessTree};

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// init_module(2): from the caller's memory.
    InitModule,
    /// finit_module(2): from a file descriptor.
    FinitModule,
    /// delete_module(2).
    DeleteModule,
    /// A load whose system call was not seen.
    UnknownLoad,
    /// An unload whose system call was not seen.
    UnknownUnload,
}

impl Operation {
    /// Whether a module was to be loaded.
    pub const fn is_load(self) -> bool {
        matches!(self, Self::InitModule | Self::FinitModule | Self::UnknownLoad)
    }

    /// Name of the system call, where it is known.
    pub const fn syscall(self) -> Option<&'static str> {
        match self {
            Self::InitModule => Some("init_module"),
            Self::FinitModule => Some("finit_module"),
            Self::DeleteModule => Some("delete_module"),
            Self::UnknownLoad | Self::UnknownUnload => None,
        }
    }
}

/// Through which entry a system call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    X86_64,
    I386,
    X32,
}

impl Abi {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::X32 => "x32",
        }
    }
}

/// A part of a call that a probe reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The call with its arguments and its process.
    Enter,
    /// The image that the kernel read.
    Image,
    /// The kernel's copy of the parameters.
    Parameters,
    /// The module linked into the kernel.
    Loaded,
    /// The module freed.
    Freed,
    /// The return value.
    Exit,
    /// The kernel's request that the load answers.
    Request,
}

impl Part {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Image => "image",
            Self::Parameters => "parameters",
            Self::Loaded => "module_load",
            Self::Freed => "module_free",
            Self::Exit => "exit",
            Self::Request => "module_request",
        }
    }
}

/// A text that the caller passes by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerText {
    ModuleName,
    Parameters,
}

/// How far a load came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStage {
    /// Refused before the module was linked: its code did not run.
    Refused,
    /// Its init function ran and said no: its code did run.
    InitFailed,
    /// Loaded and live.
    Live,
    /// Linked; the init function has not returned yet, or the return was not seen.
    InitRunning,
    /// The kernel let another, simultaneous call load the same file and gave both its result.
    Shared,
    /// Not known, because parts are missing.
    Unknown,
}

impl LoadStage {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::InitFailed => "init-failed",
            Self::Live => "live",
            Self::InitRunning => "init-running",
            Self::Shared => "shared",
            Self::Unknown => "unknown",
        }
    }

    /// Whether code of the module ran in this call; `None` where it is not known.
    pub const fn init_ran(self) -> Option<bool> {
        match self {
            Self::InitFailed | Self::Live | Self::InitRunning => Some(true),
            Self::Refused | Self::Shared => Some(false),
            Self::Unknown => None,
        }
    }
}

/// Where the image came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageSource {
    File,
    Memory,
}

/// The return of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    /// 0, or a negated errno.
    pub ret: i64,
    /// Nanoseconds since boot.
    pub boot_ns: u64,
}

/// What the kernel holds of the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleFacts {
    /// The kernel's name, from `struct module`; `None` when the module was never linked.
    pub name: Option<Bytes>,
    pub version: Option<Bytes>,
    pub srcversion: Option<Bytes>,
    /// `module->taints`, a bit mask (Documentation/admin-guide/tainted-kernels.rst).
    pub taints: Option<u64>,
}

/// One call: one document.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleCall {
    pub operation: Operation,
    /// Thread and enter time: the call's name on this boot. The time is 0 when the enter was not seen.
    pub tid: u32,
    pub call_id: u64,
    /// Nanoseconds since boot of the earliest part.
    pub boot_ns: u64,
    /// CPU of the earliest part.
    pub cpu: u32,
    pub abi: Option<Abi>,
    /// finit_module: MODULE_INIT_*; delete_module: O_*.
    pub flags: Option<u32>,
    pub fd: Option<i32>,
    /// Bytes that the caller offered (init_module).
    pub offered_bytes: Option<u64>,
    /// Bytes that the kernel read.
    pub image_bytes: Option<u64>,
    pub image_source: Option<ImageSource>,
    /// What a probe copied of them.
    pub capture: Option<Capture>,
    /// What that is, when somebody has looked.
    pub image: Option<Box<ExaminedImage>>,
    /// The file that the kernel read, or, when it read none, the one behind the caller's descriptor.
    pub file: Option<FileFacts>,
    /// What the file holds, where it was looked at after the load.
    pub content: Content,
    /// The caller's descriptor named another file at the enter than the kernel read.
    pub file_swapped: bool,
    /// The kernel's copy of the parameters, or the caller's where the kernel did not come that far.
    pub parameters: Option<Bytes>,
    /// The caller's memory held other parameters at the enter than the kernel took.
    pub parameters_rewritten: bool,
    /// The name that delete_module was given.
    pub requested_name: Option<Bytes>,
    /// The caller's name or parameters could not be read: their page was not in memory, and the kernel refused the call
    /// before it looked at them.
    pub unreadable: Vec<CallerText>,
    pub module: ModuleFacts,
    pub outcome: Option<CallOutcome>,
    pub stage: LoadStage,
    /// The module was freed during the call.
    pub freed: bool,
    pub process: Option<ProcessTree>,
    /// The request by the kernel that this load answers.
    pub request: Option<ModuleRequest>,
    /// Requests that it may answer: of several by one name nothing says which.
    pub request_candidates: u32,
    /// Parts that are known to have happened, or must have, but did not arrive.
    pub missing: Vec<Part>,
    /// How often it was passed on before it returned: more than 0 completes an earlier document.
    pub told: u32,
}

impl ModuleCall {
    /// The best name there is: the kernel's, else the requested one, else none.
    pub fn name(&self) -> Option<&Bytes> {
        self.module.name.as_ref().or(self.requested_name.as_ref())
    }

    /// Whether it told the kernel not to look at symbol versions or the version magic, and so at no signature either:
    /// `MODULE_INIT_IGNORE_MODVERSIONS`, `MODULE_INIT_IGNORE_VERMAGIC`.
    pub fn is_forced(&self) -> bool {
        const IGNORE: u32 = 1 | 2;
        self.flags.is_some_and(|flags| flags & IGNORE != 0)
    }

    /// Whether it asked the kernel to unpack the file, and the kernel did: `MODULE_INIT_COMPRESSED_FILE`, and the module was linked.
    pub fn was_unpacked(&self) -> bool {
        const COMPRESSED_FILE: u32 = 4;
        self.flags.is_some_and(|flags| flags & COMPRESSED_FILE != 0) && self.module.taints.is_some()
    }

    /// Whether it was told of because it takes long: another document follows when it returns.
    pub fn is_running(&self) -> bool {
        // Of a call without a number nobody can say that it returned.
        self.outcome.is_none() && self.stage == LoadStage::InitRunning && self.call_id != 0
    }

    /// The errno of a failed call.
    pub fn errno(&self) -> Option<i32> {
        let ret = self.outcome?.ret;
        (-4095..0).contains(&ret).then_some(-(ret as i32))
    }

    /// Whether the kernel did something for it that it does for privileged callers only.
    pub fn is_confirmed(&self) -> bool {
        let linked = self.module.taints.is_some();
        linked || self.freed || self.image_bytes.is_some() || self.succeeded() == Some(true)
    }

    /// Whether the call returned success.
    pub fn succeeded(&self) -> Option<bool> {
        self.outcome.map(|outcome| outcome.ret == 0)
    }
}
