//! How far two implementations may lie apart.

use kiln_metrics::Tolerance;
use kiln_model::{LayerKind, Model};

/// Half the distance from 1 to the next f32.
const UNIT_ROUNDOFF: f64 = 1.0 / (1 << 24) as f64;

/// How far the scores of an image (logits, or probabilities where the file has these) may lie apart
/// for a model: the absolute one, or the relative one of the image's largest score where that is
/// more ([`Tolerance::of`]).
///
/// The absolute one is far below what could change a decision that is not a coin's toss. The
/// relative one counts where an image's scores are large, and is what rounding gives. Two
/// implementations add up a layer's terms in different orders; rounding errors are as good as
/// independent, so that a sum of `n` terms is off by some `u sqrt(n)` of their size, with `u` =
/// 2^-24 for f32 (Higham and Mary, "A new approach to probabilistic rounding error analysis",
/// 2019). The layers' errors add up in the same way: `u sqrt(n_1 + n_2 + ...)`, once for each of
/// the two implementations.
///
/// That is 5e-6 for the report's largest CNN and 2.2e-5 for VGG16. Measured with VGG16 over 10,000
/// images, against the same file computed in f64: PyTorch in f32 is off by up to 4.2e-6 of an
/// image's largest score, ONNX Runtime by 0.9e-6, tract, which adds up a convolution's thousands of
/// terms one after the other, by 6.7e-6. With other weights tract and ONNX Runtime differ by up to
/// 1.1e-5.
pub fn tolerance(model: &Model) -> Tolerance {
    // The terms of one output: a weight is `[outputs, ...]`; what has one axis multiplies a value
    // by itself.
    let params = model.layers().iter().flat_map(|layer| &layer.params);
    let terms = params
        .filter(|param| param.shape.len() > 1)
        .map(|param| param.shape[1..].iter().product::<usize>());
    let in_files = model.layers().iter().map(|layer| match &layer.kind {
        LayerKind::Graph(graph) => graph.terms,
        _ => 0,
    });
    let terms = terms.sum::<usize>() as f64 + in_files.sum::<u64>() as f64;
    let relative = 2.0 * UNIT_ROUNDOFF * terms.sqrt();
    Tolerance {
        absolute: 1e-4,
        relative,
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;

    #[test]
    fn it_grows_with_the_root_of_the_terms() {
        let layers = |more: &str| {
            let dense = "{ type = \"flatten\" }, { type = \"dense\", units = 10 }";
            let recipe =
                Recipe::parse(&format!("layers = [{more} {dense}]"), "t.toml", "t", &[]).unwrap();
            tolerance(recipe.model()).relative
        };
        let unit = 2.0_f64.powi(-23);
        assert!((layers("") - unit * 784_f64.sqrt()).abs() < 1e-12);
        let conv =
            "{ type = \"conv2d\", filters = 4, kernel_size = 3 }, { type = \"batch_norm\" },";
        let terms = f64::from(9 + 4 * 26 * 26);
        assert!((layers(conv) - unit * terms.sqrt()).abs() < 1e-12);
    }
}
