//! What a scenario works with.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::{
    document::Document,
    expected,
    module_file::{self, Image},
    process::{Ended, forked},
    sensor::{Hooks, Sensor},
};

pub(crate) struct Stage {
    pub(crate) sensor: Sensor,
    pub(crate) hooks: Hooks,
    /// A daemon that also looks at the kernel, once a scenario has asked for it.
    pub(crate) looking: Option<Sensor>,
}

/// Where the daemon that looks at the kernel serves its counters.
pub(crate) const LOOKING_SOCKET: &str = "/run/looking.sock";

impl Stage {
    /// The daemon that also looks at the kernel. Documents that it wrote for earlier scenarios do not count.
    pub(crate) fn looking(&mut self) -> &mut Sensor {
        let hooks = self.hooks;
        let looking = self.looking.get_or_insert_with(|| {
            // As often as can be set.
            let settings = format!(
                "[rarity]\nenabled = false\n[integrity]\ninterval_s = 1\n[metrics]\nlisten = \"unix:{LOOKING_SOCKET}\"\n"
            );
            let sensor = Sensor::start_set(hooks, &["--events"], "looking", &settings, &[]);
            sensor.says("metrics are served");
            sensor
        });
        looking.begin_scenario();
        looking
    }

    /// The report on a load by this process.
    pub(crate) fn load_by(&self, pid: u32) -> Document {
        self.sensor.expect(&format!("a load by process {pid}"), |document| document.is_load() && document.is_by(pid))
    }

    /// The report on an unload by this process.
    pub(crate) fn unload_by(&self, pid: u32) -> Document {
        self.sensor
            .expect(&format!("an unload by process {pid}"), |document| document.is_unload() && document.is_by(pid))
    }

    /// The report on a load of this module.
    pub(crate) fn load_of(&self, module: &str) -> Document {
        self.sensor.expect(&format!("a load of {module}"), |document| document.is_load() && document.module() == module)
    }

    /// The report on what this process did to the file of this path, by `event.action`.
    pub(crate) fn change_by(&self, pid: u32, action: &str, path: impl AsRef<Path>) -> Document {
        let path = path.as_ref().display().to_string();
        self.sensor.expect(&format!("{action} {path} by process {pid}"), |document| {
            document.text("event.action") == action && document.text("file.path") == path && document.is_by(pid)
        })
    }

    /// A fork of PID 1 loads this file without parameters.
    pub(crate) fn load_in_fork(&self, file: &File) -> Ended {
        forked(|| rustix::system::finit_module(file, c"", 0))
    }

    /// The report on a successful load of a fixture from this file, looked at in general.
    pub(crate) fn live_load(&self, loader: &Ended, fixture: &str, path: impl AsRef<Path>) -> Document {
        let metadata = fs::metadata(&path).expect("the module's file is still there");
        let document = self.load_by(loader.pid);
        document
            .contains(expected::live("finit_module"))
            .contains(expected::module(&Image::of(fixture)))
            .contains(expected::file(path.as_ref(), &metadata));
        document
    }

    /// Where modprobe finds the fixture, opened.
    pub(crate) fn installed(&self, name: &str) -> File {
        File::open(module_file::installed(name)).expect("open an installed module")
    }
}
