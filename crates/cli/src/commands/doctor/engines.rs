//! What runs models.

use kiln_inference::{Availability, EngineId};
use kiln_pipeline::engines::options;

use super::finding::Finding;
use crate::app::App;
use crate::hints::install;

/// The engines, and what they consist of.
pub fn findings(app: &App<'_>) -> Vec<Finding> {
    EngineId::all().map(|engine| finding(engine, app)).collect()
}

fn finding(engine: EngineId, app: &App<'_>) -> Finding {
    let info = engine.info();
    let options = options(&app.context);
    let error = match info.probe(&options) {
        Ok(available) => return Finding::ok(engine.title(), found(&available, info.summary)),
        Err(error) => error,
    };
    let hint = error.hint();
    let install = hint.as_ref().and_then(install);
    let fix = install.map_or_else(
        || hint.map_or_else(String::new, |hint| hint.to_string()),
        str::to_owned,
    );
    if !info.is_configured(&options) {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        return Finding::missing(engine.title(), first.trim_end_matches("; tried"), fix);
    }
    let fix = match std::env::var("KILN_ORT_LIB") {
        Ok(named) if install.is_some() => {
            format!("`unset KILN_ORT_LIB` takes back {named}; then `{fix}`")
        }
        _ => fix,
    };
    Finding::broken(engine.title(), error.to_string(), fix)
}

/// `1.31.1, /lib/libonnxruntime.so` and more lines, or what it is where nothing had to be found.
fn found(available: &Availability, summary: &str) -> String {
    let version = available.version.as_deref().unwrap_or("of unknown version");
    if available.details.is_empty() {
        return format!("{version}, {summary}");
    }
    format!("{version}, {}", available.details.join("\n"))
}
