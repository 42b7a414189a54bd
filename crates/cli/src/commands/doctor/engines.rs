//! What runs models.

use kiln_assets::Cache;
use kiln_inference::{Availability, EngineId};

use super::finding::Finding;
use crate::engines::{default_options, install};

/// The engines, and what they consist of.
pub fn findings(cache: &Cache) -> Vec<Finding> {
    EngineId::all()
        .map(|engine| finding(engine, cache))
        .collect()
}

fn finding(engine: EngineId, cache: &Cache) -> Finding {
    let (info, options) = (engine.info(), default_options(None, cache));
    let error = match info.probe(&options) {
        Ok(available) => return Finding::ok(engine.title(), found(&available, info.summary)),
        Err(error) => error,
    };
    let hint = || {
        error
            .hint()
            .map_or_else(String::new, |hint| hint.to_string())
    };
    let cure = install(&error).map_or_else(hint, str::to_owned);
    if !info.is_configured(&options) {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        return Finding::missing(engine.title(), first.trim_end_matches("; tried"), cure);
    }
    let cure = match std::env::var("KILN_ORT_LIB") {
        Ok(named) if install(&error).is_some() => {
            format!("`unset KILN_ORT_LIB` takes back {named}; then `{cure}`")
        }
        _ => cure,
    };
    Finding::broken(engine.title(), error.to_string(), cure)
}

/// `1.31.1, /lib/libonnxruntime.so` and more lines, or what it is where nothing had to be found.
fn found(available: &Availability, summary: &str) -> String {
    let version = available.version.as_deref().unwrap_or("of unknown version");
    if available.details.is_empty() {
        return format!("{version}, {summary}");
    }
    format!("{version}, {}", available.details.join("\n"))
}
