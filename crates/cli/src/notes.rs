//! What to know about a model that runs: the engine, and what is assumed about the file.

use kiln_inference::Model;
use kiln_pipeline::overrides::{Note, notes};
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_util::{shown, thousands};

use crate::terminal::Terminal;

/// Says what a model runs on, and why not on what was asked for.
pub fn runtime(runtime: &RuntimeRecord, terminal: &Terminal) {
    fallback(runtime, terminal);
    terminal.status("Running", &format!("on {}", runtime.line()));
}

/// Says why a model does not run on what was asked for, if so.
pub fn fallback(runtime: &RuntimeRecord, terminal: &Terminal) {
    if let Some(fallback) = runtime.fallback() {
        terminal.status("Falling back", &format!("to the CPU: {fallback}"));
    }
}

/// Says what the results of a model rest on that nobody specifies. To be called once, after the
/// results.
pub fn assumptions(model: &Model, terminal: &Terminal) {
    for note in notes(model) {
        if let Some(text) = text(&note) {
            terminal.status("Note", &text);
        }
    }
}

fn text(note: &Note) -> Option<String> {
    Some(match note {
        Note::UnnamedClasses {
            classes,
            features: true,
        } => format!(
            "the model ends as one of features does, and does not name {} classes: `kiln embed` if they are none (--labels FILE.txt)",
            thousands(*classes)
        ),
        Note::UnnamedClasses { classes, .. } => format!(
            "the model does not name its {} classes: they are called by their numbers from 0 (--labels FILE.txt)",
            thousands(*classes)
        ),
        Note::UnnamedBinary => {
            "the model gives one score and does not name its classes: they are called negative and positive (--labels FILE.txt)".to_owned()
        }
        Note::RepeatedName {
            first,
            second,
            name,
        } => format!(
            "classes {first} and {second} are both called `{}`: results cannot tell them apart by name (--labels FILE.txt)",
            shown(name, 40)
        ),
        Note::AssumedLogits => {
            "the model does not say what its output is: it is taken for logits (--output logits|probabilities|sigmoid)".to_owned()
        }
        Note::GuessedProbabilities => {
            "the model does not say what its output is: it is taken for probabilities, since those of test images add up to 1 (--output logits|probabilities)".to_owned()
        }
        Note::Independent => {
            "the model ends in a sigmoid: each class has a probability by itself, and the most probable one counts".to_owned()
        }
        Note::ChosenOutput { name } => format!(
            "of the model's outputs, `{}` is taken for the scores (--output-name NAME)",
            shown(name, 40)
        ),
        Note::OneAtATime => {
            "the model fails at several images in one run, though it leaves their number open: it is run with one at a time; export it with an open batch".to_owned()
        }
        Note::BatchDependent => {
            "the model quantizes values by their range in a batch: an image's scores depend a little on those it is run with (--batch-size 1 for scores that do not)".to_owned()
        }
        Note::Repaired(repair) => shown(&repair.to_string(), usize::MAX),
        // A note that is newer than this text.
        _ => return None,
    })
}
