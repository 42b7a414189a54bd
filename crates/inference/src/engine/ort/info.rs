//! The ONNX Runtime that a model runs on, and which execution provider computes how many nodes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ::ort::logging::{LogLevel, LoggerFunction};

/// The ONNX Runtime that a model runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrtInfo {
    /// Maximum number of runs computed at the same time; further callers wait.
    pub concurrent_runs: usize,
    /// The shared library.
    pub library: Library,
    /// Number of the graph's nodes by execution provider, as ONNX Runtime assigned them before it
    /// fused some. Best effort: it is read from ONNX Runtime's log, and empty where a version words
    /// that differently.
    pub nodes: Vec<ProviderNodes>,
}

/// An execution provider's share of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderNodes {
    /// ONNX Runtime's name of the provider, such as `CPUExecutionProvider`.
    pub provider: String,
    /// Number of nodes.
    pub nodes: usize,
}

/// A loaded ONNX Runtime library.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// Version by the file's name, such as `1.31.1`, or by the version of the symbols that it
    /// exports; none where neither has one.
    pub version: Option<String>,
    /// The library's own description of how it was built.
    pub build: String,
    /// The execution providers that it was built with, the preferred first. That one is listed does
    /// not mean that it works: a GPU's needs a driver and further libraries.
    pub providers: Vec<String>,
}

/// Listens while ONNX Runtime shares out the nodes of a graph.
///
/// It tells this to its log only, at the most talkative level. The interface that returns it
/// (`Session_GetEpGraphAssignmentInfo`) came with 1.24 and takes unsafe code, and profiling takes a
/// run and a file.
#[derive(Clone, Default)]
pub struct Placement(Arc<Mutex<Vec<ProviderNodes>>>);

impl Placement {
    /// What to give to the session as its log.
    pub fn logger(&self) -> LoggerFunction {
        let heard = Arc::clone(&self.0);
        Arc::new(
            move |_: LogLevel, _: &str, _: &str, _: &str, message: &str| {
                if let Some(nodes) = read(message) {
                    heard
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(nodes);
                }
            },
        )
    }

    /// What was heard, sorted by name; nothing if this version of ONNX Runtime words it otherwise.
    pub fn heard(&self) -> Vec<ProviderNodes> {
        let mut heard = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        heard.sort_by(|a, b| a.provider.cmp(&b.provider));
        heard
    }
}

/// Reads ` All nodes placed on [CPUExecutionProvider]. Number of nodes: 8`, or ` Node(s) placed on
/// …` where there are several.
fn read(message: &str) -> Option<ProviderNodes> {
    let (_, rest) = message.split_once(" placed on [")?;
    let (provider, rest) = rest.split_once("]. Number of nodes: ")?;
    Some(ProviderNodes {
        provider: provider.to_owned(),
        nodes: rest.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_nodes_are_heard_and_others_not() {
        let placement = Placement::default();
        let say = |line: &str| {
            placement.logger()(LogLevel::Verbose, "onnxruntime", "", "session.cc:1", line);
        };
        for line in [
            "Node placements",
            " Node(s) placed on [CUDAExecutionProvider]. Number of nodes: 12",
            " Node(s) placed on [CPUExecutionProvider]. Number of nodes: 3",
            "  Conv (conv2d)",
            " placed on [x]. Number of nodes: many",
        ] {
            say(line);
        }
        let nodes = |provider: &str, nodes| ProviderNodes {
            provider: provider.into(),
            nodes,
        };
        assert_eq!(
            placement.heard(),
            [
                nodes("CPUExecutionProvider", 3),
                nodes("CUDAExecutionProvider", 12)
            ]
        );
        say(" All nodes placed on [CPUExecutionProvider]. Number of nodes: 8");
        assert_eq!(placement.heard(), [nodes("CPUExecutionProvider", 8)]);
    }
}
