//! The engines of this build: each is a folder, a Cargo feature and an entry of [`ENGINES`].

pub(crate) mod error;
pub(crate) mod interface;
#[cfg(feature = "ort")]
pub(crate) mod ort;
#[cfg(feature = "tract")]
mod tract;

use std::str::FromStr;
use std::sync::Arc;

use crate::choice::{EngineId, ParseEngineError};
use crate::options::Options;
use error::EngineError;
use interface::{Engine, EngineInfo, Source};

/// The engines of this build. The first is the default.
const ENGINES: &[EngineInfo] = &[
    #[cfg(feature = "tract")]
    tract::INFO,
    #[cfg(feature = "ort")]
    ort::INFO,
];

/// All engines' features, and whether this build has them.
const FEATURES: &[(&str, bool)] = &[
    ("tract", cfg!(feature = "tract")),
    ("ort", cfg!(feature = "ort")),
];

const _: () = assert!(
    !ENGINES.is_empty(),
    "kiln-inference needs an engine: turn on a feature such as `tract` or `ort`"
);

/// Returns the engines of this build. The first is the default.
pub fn engines() -> &'static [EngineInfo] {
    ENGINES
}

impl EngineId {
    /// Returns the engines of this build in the order of [`engines`].
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ENGINES.iter().map(|engine| engine.id)
    }

    /// Returns what is known about the engine before it is started.
    pub fn info(self) -> &'static EngineInfo {
        ENGINES
            .iter()
            .find(|engine| engine.id == self)
            .expect("every id is that of an engine of this build")
    }
}

impl Default for EngineId {
    /// Returns the first engine of this build: tract, unless it is left out.
    fn default() -> Self {
        ENGINES[0].id
    }
}

impl FromStr for EngineId {
    type Err = ParseEngineError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match Self::all().find(|engine| engine.name() == name) {
            Some(engine) => Ok(engine),
            None if FEATURES.iter().any(|(feature, _)| *feature == name) => {
                Err(ParseEngineError::Disabled(name.to_owned()))
            }
            None => Err(ParseEngineError::Unknown {
                expected: Self::all().map(Self::name).collect(),
                found: name.to_owned(),
            }),
        }
    }
}

/// Loads a model with the engine that the options name.
pub(crate) fn load(
    source: &Source<'_>,
    options: &Options,
    threads: usize,
) -> Result<Arc<dyn Engine>, EngineError> {
    let (engine, device) = (options.engine, options.device);
    let info = engine.info();
    if !info.supports(device) {
        return Err(EngineError::Device {
            engine,
            device,
            able: ENGINES
                .iter()
                .filter(|info| info.supports(device))
                .map(|info| info.id)
                .collect(),
        });
    }
    (info.load)(source, options, threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_found_by_their_names() {
        for engine in EngineId::all() {
            assert_eq!(engine.name().parse(), Ok(engine));
            assert_eq!(engine.info().id, engine);
        }
        let built = FEATURES.iter().filter(|(_, built)| *built);
        let built: Vec<_> = built.map(|(name, _)| *name).collect();
        assert_eq!(
            EngineId::all().map(EngineId::name).collect::<Vec<_>>(),
            built
        );
        let error = "onnx".parse::<EngineId>().unwrap_err().to_string();
        assert!(error.ends_with(", found `onnx`"), "{error}");
    }

    #[test]
    fn an_engine_that_is_left_out_is_named_as_such() {
        for (name, built) in FEATURES {
            let expected = (!built).then(|| ParseEngineError::Disabled((*name).to_owned()));
            assert_eq!(name.parse::<EngineId>().err(), expected);
        }
    }
}
