//! The way of images: captured, examined, kept.

use anyhow::Context as _;

use crate::{
    config::Config,
    evidence::Service,
    inspect::images::{Examiner, Means},
    model::Host,
    pipeline::{Evidence, Examining},
    sensor::{
        attach::Programs,
        images::{ImageReader, Images},
    },
};

/// Images that may wait to be kept, in bytes, and in any case the largest one: more are lost, and counted.
const WAITING_BYTES: u64 = 32 << 20;

/// Who puts captured images together, and who looks at them; nobody where none are captured.
pub(super) fn start(
    config: &Config,
    host: &Host,
    programs: &mut Programs,
) -> anyhow::Result<(Option<ImageReader>, Option<Examining>)> {
    let image_bytes = config.sensor.image_bytes;
    if image_bytes == 0 {
        return Ok((None, None));
    }
    let reader = ImageReader::start(programs, image_bytes).context("cannot read the ring for images")?;
    let captured = reader.images();
    let examiner = Examiner::start(means(config, host, captured.clone())?).context("cannot start to examine images")?;
    let examining = Examining { examiner, captured, evidence: evidence(config)? };
    Ok((Some(reader), Some(examining)))
}

fn means(config: &Config, host: &Host, captured: Images) -> anyhow::Result<Means> {
    Ok(Means {
        find: Box::new(move |name, len, deadline| captured.wait_for(name, len, deadline)),
        limit_bytes: config.sensor.image_bytes.into(),
        // As process 1 sees it: a service manager may hide modules from the daemon's own side.
        root: "/proc/1/root".into(),
        // Checked when the settings were read.
        keys: config.signatures.sources(&host.kernel_release)?,
    })
}

/// Who keeps images. That none can be kept is no reason not to watch, and the store is opened by a thread of its own.
fn evidence(config: &Config) -> anyhow::Result<Option<Evidence>> {
    // Checked when the settings were read.
    let Some(settings) = config.evidence.settings()? else { return Ok(None) };
    let service = Service::start(settings, WAITING_BYTES.max(config.sensor.image_bytes.into()))
        .inspect_err(|error| tracing::error!(%error, "no images of modules can be kept"))
        .ok();
    Ok(Some(Evidence::new(service, config.evidence.keep.clone())))
}
