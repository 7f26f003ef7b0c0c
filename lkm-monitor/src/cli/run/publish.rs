//! Lets others fetch what the daemon counts.

use super::guard::Heart;
use crate::{
    config::MetricsConfig,
    dispatch::Status,
    latency,
    metrics::{self, Board, Snapshot},
    pipeline::Pipeline,
    sensor::{attach::Programs, losses::Totals},
};

/// Publishes at each look, where somebody may ask.
#[derive(Debug)]
pub(super) struct Publisher {
    board: Option<Board>,
}

impl Publisher {
    /// Begins to serve where that is set. A daemon that cannot watches all the same.
    pub(super) fn start(config: &MetricsConfig) -> anyhow::Result<Self> {
        let Some(listen) = config.listen()? else { return Ok(Self { board: None }) };
        let board = Board::default();
        let started = metrics::start(listen, board.clone())
            .inspect_err(|error| tracing::error!(%error, "metrics cannot be fetched"));
        Ok(Self { board: started.ok().map(|()| board) })
    }

    /// Publishes how everything is. Where the probes' counters cannot be read, the last snapshot stays, and shows its age.
    pub(super) fn follow(
        &self,
        heart: &Heart,
        programs: &mut Programs,
        pipeline: &Pipeline,
        totals: Option<&Totals>,
        carried: Option<&Status>,
    ) {
        let (Some(board), Some(_)) = (&self.board, totals) else { return };
        board.publish(Snapshot {
            heartbeat: heart.heartbeat(programs, pipeline, totals, Vec::new()),
            taken_ms: latency::now_ms(),
            started_ms: heart.began().unix_ms,
            waiting: pipeline.waiting(),
            carried: carried.cloned(),
        });
    }
}
