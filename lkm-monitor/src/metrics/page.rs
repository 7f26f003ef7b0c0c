//! The text formats: which of them somebody wants, and metrics in them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text},
    metrics::MetricType,
    registry::Registry,
};

use super::Snapshot;
use crate::latency::{BOUNDS_MS, Latencies};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>, version 1.0.0.
    OpenMetrics,
    /// What was there before it, and what most programs read: version 0.0.4.
    Prometheus,
}

impl Format {
    /// What fits an `Accept` header. Prometheus asks for OpenMetrics by its name; who does not gets the other.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A snapshot as text.
pub(super) fn write(snapshot: Arc<Snapshot>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.write(&mut Page { encoder })
    }
}

/// Names and values of labels.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Values by their labels: no series is there twice.
pub(super) type Rows<T> = BTreeMap<Labels, T>;

/// One row without labels.
pub(super) fn single<T>(value: T) -> Rows<T> {
    [(Labels::new(), value)].into()
}

/// Writes one family after the other. Names are whole, but for the `_total` of counters and the `_info` of an info.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &Labels) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, rows: &Rows<f64>) -> fmt::Result {
        self.family((name, help, MetricType::Gauge), rows, |mut row, value| row.encode_gauge(value))
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, rows: &Rows<f64>) -> fmt::Result {
        let write = |mut row: MetricEncoder<'_>, value: &f64| row.encode_counter::<NoLabelSet, _, f64>(value, None);
        self.family((name, help, MetricType::Counter), rows, write)
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, rows: &Rows<&Latencies>) -> fmt::Result {
        self.family((name, help, MetricType::Histogram), rows, |mut row, latencies| {
            let bounds = BOUNDS_MS.iter().map(|bound| *bound as f64 / 1000.0).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(latencies.buckets).collect();
            row.encode_histogram::<NoLabelSet>(latencies.sum_ms as f64 / 1000.0, latencies.count(), &buckets, None)
        })
    }

    fn family<T>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        rows: &Rows<T>,
        write: impl Fn(MetricEncoder<'_>, &T) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        rows.iter().try_for_each(|(labels, value)| write(family.encode_family(labels)?, value))
    }
}
