//! What is counted and measured, in the text format of Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kiln_inference::Prediction;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::model::{Failure, Timings};

/// Upper bounds of times in seconds: from a small network to one that is overloaded.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds of the images in a batch.
const BATCHES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Upper bounds of the predicted class's probability: fine where classifiers are most of the time.
const CONFIDENCES: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: &'static str,
    route: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    protocol: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabels {
    model: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    model: String,
    version: String,
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    model: String,
    version: String,
    class: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    model: String,
    version: String,
    reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Why a request was not answered by a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The queue was full.
    QueueFull,
    /// Its deadline passed.
    Deadline,
    /// Bodies being read took all the memory there is for them.
    Memory,
    /// The client left.
    Cancelled,
}

impl Rejection {
    const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Every metric of the server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Histograms<RouteLabels>,
    rejected: Family<ReasonLabels, Counter>,
    connections: Gauge,
    ready: Family<VersionLabels, Gauge>,
    queue: Family<VersionLabels, Gauge>,
    batches: Histograms<VersionLabels>,
    stages: Histograms<StageLabels>,
    predictions: Family<ClassLabels, Counter>,
    confidences: Histograms<VersionLabels>,
    failures: Family<FailureLabels, Counter>,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn batches() -> Histogram {
    Histogram::new(BATCHES)
}

fn confidences() -> Histogram {
    Histogram::new(CONFIDENCES)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("kiln"),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            rejected: Family::default(),
            connections: Gauge::default(),
            ready: Family::default(),
            queue: Family::default(),
            batches: Family::new_with_constructor(batches),
            stages: Family::new_with_constructor(seconds),
            predictions: Family::default(),
            confidences: Family::new_with_constructor(confidences),
            failures: Family::default(),
        };
        let Self {
            registry,
            requests,
            durations,
            rejected,
            connections,
            ready,
            queue,
            batches,
            stages,
            predictions,
            confidences,
            failures,
        } = &mut metrics;
        registry.register("requests", "Requests that were answered", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to its answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register(
            "rejected",
            "Requests that no model answered, by reason",
            rejected.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        registry.register(
            "model_ready",
            "1 for a model that answers requests",
            ready.clone(),
        );
        registry.register(
            "queue_images",
            "Images that wait for a worker",
            queue.clone(),
        );
        registry.register(
            "batch_images",
            "Images of each run of the graph",
            batches.clone(),
        );
        registry.register_with_unit(
            "stage_duration",
            "Time of each image in a stage: queue, prepare, inference",
            Unit::Seconds,
            stages.clone(),
        );
        registry.register(
            "predictions",
            "Images by predicted class",
            predictions.clone(),
        );
        registry.register(
            "confidence",
            "Probability of the predicted class",
            confidences.clone(),
        );
        registry.register("failures", "Images without an answer", failures.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a request that was answered. `route` is a pattern, so that there are few of them.
    pub fn request(&self, protocol: &'static str, route: &str, code: u16, duration: Duration) {
        let labels = RequestLabels {
            protocol,
            route: route.to_owned(),
            code,
        };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels {
            protocol,
            route: route.to_owned(),
        };
        let histogram = self.durations.get_or_create(&labels);
        histogram.observe(duration.as_secs_f64());
    }

    /// Counts a request that no model answered.
    pub fn rejected(&self, reason: Rejection) {
        let labels = ReasonLabels {
            reason: reason.name(),
        };
        self.rejected.get_or_create(&labels).inc();
    }

    /// Returns the number of open connections.
    pub fn open_connections(&self) -> usize {
        usize::try_from(self.connections.get()).unwrap_or_default()
    }

    /// Returns the number of open connections, to be changed.
    pub const fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Returns those of a version of a model.
    pub fn of_model(&self, model: &str, version: &str, classes: &[String]) -> ModelMetrics {
        let labels = VersionLabels {
            model: model.to_owned(),
            version: version.to_owned(),
        };
        let stage = |stage| {
            let labels = StageLabels {
                model: model.to_owned(),
                version: version.to_owned(),
                stage,
            };
            self.stages.get_or_create_owned(&labels)
        };
        let class = |class: &String| {
            self.predictions.get_or_create_owned(&ClassLabels {
                model: model.to_owned(),
                version: version.to_owned(),
                class: class.clone(),
            })
        };
        let failures = |reason| {
            self.failures.get_or_create_owned(&FailureLabels {
                model: model.to_owned(),
                version: version.to_owned(),
                reason,
            })
        };
        ModelMetrics {
            ready: self.ready.get_or_create_owned(&labels),
            queue: self.queue.get_or_create_owned(&labels),
            batches: self.batches.get_or_create_owned(&labels),
            stages: ["queue", "prepare", "inference"].map(stage),
            predictions: classes.iter().map(class).collect(),
            confidences: self.confidences.get_or_create_owned(&labels),
            failures: ["image", "model"].map(failures),
        }
    }

    /// Returns all metrics as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The metrics of a version of a model, found once.
#[derive(Debug)]
pub struct ModelMetrics {
    ready: Gauge,
    queue: Gauge,
    batches: Histogram,
    stages: [Histogram; 3],
    predictions: Vec<Counter<u64, AtomicU64>>,
    confidences: Histogram,
    failures: [Counter; 2],
}

impl ModelMetrics {
    /// Sets whether the model answers requests.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Sets the number of images in the queue.
    pub fn queued(&self, images: usize) {
        self.queue.set(images as i64);
    }

    /// Counts a run of the graph.
    pub fn batch(&self, images: usize) {
        self.batches.observe(images as f64);
    }

    /// Counts an image that was answered.
    pub fn answered(&self, prediction: &Prediction, timings: &Timings) {
        let Timings {
            queue,
            prepare,
            inference,
        } = timings;
        for (histogram, time) in self.stages.iter().zip([queue, prepare, inference]) {
            histogram.observe(time.as_secs_f64());
        }
        if let Some(counter) = self.predictions.get(prediction.index) {
            counter.inc();
        }
        self.confidences.observe(f64::from(prediction.probability));
    }

    /// Counts an image without an answer.
    pub fn failed(&self, failure: &Failure) {
        let [image, model] = &self.failures;
        match failure {
            Failure::Image(_) => image.inc(),
            Failure::Model(_) => model.inc(),
        };
    }
}
