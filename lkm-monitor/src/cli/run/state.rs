//! Who looks at the host from time to time.

use std::path::Path;

use crate::{
    config::StateConfig,
    drift::{Service, Settings},
    model::{Agent, Host},
    pipeline::StateWatch,
};

/// What process 1 sees: a service manager may show the daemon less of the host.
const HOST: &str = "/proc/1/root";

/// Starts the thread that looks; nobody looks where that is not wanted. That it cannot be started is no reason not to watch.
pub(super) fn start(config: &StateConfig, host: &Host, agent: &Agent) -> Option<StateWatch> {
    if !config.enabled {
        return None;
    }
    let root = if Path::new(HOST).join("proc").exists() { HOST } else { "/" };
    let settings = Settings {
        path: config.path.clone(),
        root: root.into(),
        agent_id: agent.id.clone(),
        boot_id: host.boot_id.clone(),
        kernel_release: host.kernel_release.clone(),
    };
    let service = Service::start(settings)
        .inspect_err(|error| tracing::error!(%error, "what changed while nobody watched is not seen: nobody can look"))
        .ok()?;
    Some(StateWatch { service, interval: config.interval() })
}
