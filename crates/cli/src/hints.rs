//! What to do about errors, for the line `help: …`.
//!
//! Libraries return hints as values, since they know neither commands nor options. Here they become
//! text: one function for each crate.

use std::error::Error;

use kiln_model::RecipeError;
use kiln_trainer::TrainError;

/// Returns what to do about an error: the hint of the first in its chain that has one.
pub fn help(error: &anyhow::Error) -> Option<String> {
    error
        .chain()
        .find_map(|error| model(error).or_else(|| trainer(error)))
}

/// Hints of `kiln_model`.
pub fn model(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_model::Hint;

    Some(match error.downcast_ref::<RecipeError>()?.hint()? {
        Hint::Sweep => "train its combinations with `kiln sweep`, or leave the sweep out with --set sweep=".into(),
        Hint::NoSweep => "train it with `kiln run`, or vary something, such as --set 'sweep.training.seed=[0, 1, 2]'".into(),
        Hint::CompileBackbone => {
            "other backbones are compiled in: name their ONNX files in KILN_BACKBONES and build kiln again, see docs/backbones.md"
                .into()
        }
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_trainer`.
pub fn trainer(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_trainer::Hint;

    Some(match error.downcast_ref::<TrainError>()?.hint()? {
        Hint::FetchBackbone { asset } => format!("`kiln fetch {asset}` downloads such a file"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;

    #[test]
    fn hints_name_commands_and_options() {
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\n[sweep]\n";
        let error = Recipe::parse(text, "r.toml", "r", &[]).unwrap_err();
        let help = help(&error.into()).unwrap();
        assert!(help.contains("`kiln sweep`"), "{help}");
    }
}
