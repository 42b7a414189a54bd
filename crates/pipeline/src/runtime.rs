//! What a model ran on, as it is written into every result and shown.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kiln_inference::{EngineChoice, Receipt};
use kiln_util::counted;
use serde::{Deserialize, Serialize};

use crate::engines::title;

/// Runtime info as it is written into results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeRecord {
    engine: Cow<'static, str>,
    version: Option<String>,
    requested_device: Cow<'static, str>,
    device: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    threads: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parallel_runs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    library_build: Option<String>,
    /// Number of nodes by execution provider; absent where the engine does not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    nodes: BTreeMap<String, usize>,
}

impl RuntimeRecord {
    /// Returns the engine with its version and device, for people.
    pub fn describe(&self) -> String {
        let name = EngineChoice::ALL
            .iter()
            .find(|engine| engine.as_str() == self.engine);
        let name = name.map_or(self.engine.as_ref(), |engine| title(*engine));
        let version = self
            .version
            .as_ref()
            .map_or(String::new(), |version| format!(" {version}"));
        format!("{name}{version} ({})", self.device)
    }

    /// Returns all of it in one line, for people.
    pub fn line(&self) -> String {
        let mut parts = vec![self.describe(), counted(self.threads as u64, "thread")];
        match self.parallel_runs {
            None | Some(1) => {}
            Some(runs) => parts.push(format!("{runs} concurrent runs")),
        }
        parts.extend(
            self.nodes.iter().map(|(provider, nodes)| {
                format!("{} on {provider}", counted(*nodes as u64, "node"))
            }),
        );
        parts.extend(self.library.clone());
        parts.join(", ")
    }

    /// Returns why it did not run where it should have.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}

impl From<&Receipt> for RuntimeRecord {
    fn from(receipt: &Receipt) -> Self {
        let library = receipt.library.as_ref();
        Self {
            engine: receipt.engine.as_str().into(),
            version: receipt.version.clone(),
            requested_device: receipt.requested.as_str().into(),
            device: receipt.device.as_str().into(),
            fallback: receipt.fallback.clone(),
            threads: receipt.threads,
            parallel_runs: receipt.parallel_runs,
            library: library.map(|library| library.path.display().to_string()),
            library_build: library.map(|library| library.build.clone()),
            nodes: receipt
                .nodes
                .iter()
                .map(|share| (share.provider.clone(), share.nodes))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_inference::{Device, Library, ProviderNodes};

    use super::*;

    fn info() -> Receipt {
        let nodes = |provider: &str, nodes| ProviderNodes {
            provider: provider.into(),
            nodes,
        };
        Receipt {
            engine: EngineChoice::Ort,
            version: Some("1.31.1".into()),
            requested: Device::Auto,
            device: Device::Cuda,
            fallback: None,
            threads: 8,
            parallel_runs: Some(2),
            library: Some(Library {
                path: "/lib/libonnxruntime.so".into(),
                version: Some("1.31.1".into()),
                build: "Release".into(),
                providers: Vec::new(),
            }),
            nodes: vec![
                nodes("CPUExecutionProvider", 1),
                nodes("CUDAExecutionProvider", 12),
            ],
        }
    }

    #[test]
    fn one_line_says_it_all() {
        let expected = "ONNX Runtime 1.31.1 (cuda), 8 threads, 2 concurrent runs, 1 node on CPUExecutionProvider, \
                        12 nodes on CUDAExecutionProvider, /lib/libonnxruntime.so";
        assert_eq!(RuntimeRecord::from(&info()).line(), expected);
    }

    #[test]
    fn it_is_read_back_and_so_are_those_of_older_runs() {
        let record = RuntimeRecord::from(&info());
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(
            serde_json::from_str::<RuntimeRecord>(&json).unwrap(),
            record
        );
        let old = r#"{"engine":"tract","version":"0.23","requested_device":"cpu","device":"cpu","threads":2}"#;
        assert_eq!(
            serde_json::from_str::<RuntimeRecord>(old).unwrap().line(),
            "tract 0.23 (cpu), 2 threads"
        );
    }
}
