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

/// Says what the results of a model rest on that nobody specifies, in a line, and what was put right in
/// it. To be called once, after the results.
pub fn assumptions(model: &Model, terminal: &Terminal) {
    let notes = notes(model);
    let assumed: Vec<String> = notes.iter().filter_map(assumed).collect();
    if !assumed.is_empty() {
        let text = format!("assumed of the model: {}", assumed.join("; "));
        terminal.status("Note", &text);
    }
    for text in notes.iter().filter_map(told) {
        terminal.status("Note", &text);
    }
}

/// Says what is assumed, as a part of a sentence; none where nothing is.
fn assumed(note: &Note) -> Option<String> {
    Some(match note {
        Note::UnnamedClasses {
            classes,
            features: true,
        } => format!(
            "its {} values are scores of classes, called by their numbers from 0, though it ends as one of features does \
             (`kiln embed`, --labels FILE.txt)",
            thousands(*classes)
        ),
        Note::UnnamedClasses { classes, .. } => format!(
            "its {} classes are called by their numbers from 0 (--labels FILE.txt)",
            thousands(*classes)
        ),
        Note::UnnamedBinary => {
            "its two classes are called negative and positive (--labels FILE.txt)".to_owned()
        }
        Note::AssumedLogits => {
            "its output is taken for logits (--output logits|probabilities|sigmoid)".to_owned()
        }
        Note::GuessedProbabilities => {
            "its output is taken for probabilities, since those of test images add up to 1 (--output logits|probabilities)".to_owned()
        }
        Note::Independent => {
            "it ends in a sigmoid, so each class has a probability by itself, and an image those with more than 50 % (--threshold)".to_owned()
        }
        Note::ChosenOutput { name } => format!(
            "of its outputs, `{}` is taken for the scores (--output-name NAME)",
            shown(name, 40)
        ),
        // Others, and those that are newer than this text.
        _ => return None,
    })
}

/// Says something else about the model; none where that is assumed.
fn told(note: &Note) -> Option<String> {
    Some(match note {
        Note::RepeatedName {
            first,
            second,
            name,
        } => format!(
            "classes {first} and {second} are both called `{}`: results cannot tell them apart by name (--labels FILE.txt)",
            shown(name, 40)
        ),
        Note::OneAtATime => {
            "the model fails at several images in one run, though it leaves their number open: it is run with one at a time; export it with an open batch".to_owned()
        }
        Note::BatchDependent => {
            "the model quantizes values by their range in a batch: an image's scores depend a little on those it is run with (--batch-size 1 for scores that do not)".to_owned()
        }
        Note::Repaired(repair) => shown(&repair.to_string(), usize::MAX),
        _ => return None,
    })
}
