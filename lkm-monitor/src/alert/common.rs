//! What all documents of a run have in common.

use super::{
    DATASET, ECS_VERSION,
    json::{Fixed, json},
};
use crate::model::{Agent, Host};

/// The parts that no event changes.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) ecs: Fixed,
    pub(super) data_stream: Fixed,
    pub(super) host: Fixed,
    pub(super) agent: Fixed,
    pub(super) observer: Fixed,
}

impl Common {
    pub(super) fn new(host: &Host, agent: &Agent) -> Self {
        let Host { hostname, machine_id, boot_id, kernel_release, architecture, operating_system, .. } = host;
        let version = env!("CARGO_PKG_VERSION");
        Self {
            ecs: Fixed::new(&json!({ "version": ECS_VERSION })),
            data_stream: Fixed::new(&json!({ "type": "logs", "dataset": DATASET, "namespace": "default" })),
            host: Fixed::new(&json!({
                "hostname": hostname,
                "name": hostname,
                "id": machine_id,
                "architecture": architecture,
                "boot": { "id": boot_id },
                "os": {
                    "type": "linux",
                    "kernel": kernel_release,
                    "family": &operating_system.family,
                    "name": &operating_system.name,
                    "platform": &operating_system.platform,
                    "version": &operating_system.version,
                    "full": &operating_system.full,
                },
            })),
            agent: Fixed::new(&json!({
                "type": "lkm-monitor",
                "version": version,
                "id": &agent.id,
                "ephemeral_id": &agent.ephemeral_id,
                "name": hostname,
            })),
            observer: Fixed::new(&json!({
                "type": "sensor",
                "product": "lkm-monitor",
                "vendor": "lkm-monitor",
                "version": version,
            })),
        }
    }
}
