//! Facts of the host that the kernel probes do not bring: who the host and this agent are, names of accounts, and command
//! lines of processes that were running before the probes were.

pub mod agent;
pub mod arguments;
pub mod contents;
pub mod host;
pub mod images;
pub mod mounts;
pub mod os_release;
pub mod own_usage;
pub(crate) mod own_word;
pub(crate) mod regular;
mod settings;
pub mod tools;
pub mod users;

pub use agent::identify_agent;
pub use arguments::{RunningProcesses, complete_arguments};
pub use host::{HostError, Patterns, now, read_clock, read_host, system_mounts};
pub use own_word::not_the_kernels;
pub use settings::shared_setting;
pub use tools::installed_tools;
pub use users::AccountFiles;
