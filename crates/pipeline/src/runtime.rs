//! What a model ran on, as it is written into every result and shown.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kiln_inference::{EngineId, Model};
use kiln_util::counted;
use serde::{Deserialize, Serialize};

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
    /// Whether images are classified together with their mirror images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    flips: bool,
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
    /// Returns the engine's title.
    pub fn title(&self) -> &str {
        let engine = self.engine.parse::<EngineId>();
        engine.map_or(self.engine.as_ref(), |engine| engine.title())
    }

    /// Returns the engine with its version and device, for people.
    pub fn describe(&self) -> String {
        let name = self.title();
        let version = self
            .version
            .as_ref()
            .map_or(String::new(), |version| format!(" {version}"));
        format!("{name}{version} ({})", self.device)
    }

    /// Returns it in one line, without the library, whose path is as long as a line.
    pub fn line(&self) -> String {
        let mut parts = vec![self.describe(), counted(self.threads as u64, "thread")];
        match self.parallel_runs {
            None | Some(1) => {}
            Some(runs) => parts.push(format!("{runs} concurrent runs")),
        }
        if self.flips {
            parts.push("mirror images too".into());
        }
        parts.extend(
            self.nodes.iter().map(|(provider, nodes)| {
                format!("{} on {provider}", counted(*nodes as u64, "node"))
            }),
        );
        parts.join(", ")
    }

    /// Returns why it did not run on the device that was asked for.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}

impl From<&Model> for RuntimeRecord {
    fn from(model: &Model) -> Self {
        let runtime = model.runtime();
        let ort = runtime.ort.as_ref();
        let library = ort.map(|ort| &ort.library);
        let nodes = ort.into_iter().flat_map(|ort| &ort.nodes);
        Self {
            engine: runtime.engine.name().into(),
            version: runtime.version.clone(),
            requested_device: runtime.requested.as_str().into(),
            device: runtime.device.as_str().into(),
            fallback: runtime.fallback.clone(),
            threads: runtime.threads,
            flips: model.flips(),
            parallel_runs: ort.map(|ort| ort.concurrent_runs),
            library: library.map(|library| library.path.display().to_string()),
            library_build: library.map(|library| library.build.clone()),
            nodes: nodes
                .map(|share| (share.provider.clone(), share.nodes))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RuntimeRecord {
        RuntimeRecord {
            engine: "ort".into(),
            version: Some("1.31.1".into()),
            requested_device: "auto".into(),
            device: "cuda".into(),
            fallback: None,
            threads: 8,
            flips: false,
            parallel_runs: Some(2),
            library: Some("/lib/libonnxruntime.so".into()),
            library_build: Some("Release".into()),
            nodes: [
                ("CPUExecutionProvider".to_owned(), 1),
                ("CUDAExecutionProvider".to_owned(), 12),
            ]
            .into(),
        }
    }

    #[test]
    fn one_line_says_what_matters() {
        let expected = "ONNX Runtime 1.31.1 (cuda), 8 threads, 2 concurrent runs, 1 node on CPUExecutionProvider, \
                        12 nodes on CUDAExecutionProvider";
        assert_eq!(record().line(), expected);
    }

    #[test]
    fn it_is_read_back_and_so_are_those_of_older_runs() {
        let record = record();
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
