//! `export RECIPE [WEIGHTS OUTPUT]`: writes a recipe's model with weights, a safetensors file, as ONNX. Without them, lists the
//! parameters: name, shape and the trained ones' initial values.

use std::error::Error;

use kiln_exporter::{Options, export};
use kiln_model::Recipe;
use kiln_run::Weights;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (recipe, files) = arguments.split_first().ok_or("expected a recipe")?;
    let text = std::fs::read_to_string(recipe)?;
    let recipe = Recipe::parse(&text, recipe, "recipe", &[])?;
    let model = recipe.model();
    match files {
        [] => {
            for param in model.params() {
                println!("{}\t{:?}\t{:?}", param.name, param.shape, param.init);
            }
        }
        [weights, output] => {
            let weights = Weights::from_bytes(&std::fs::read(weights)?)?;
            let options = Options {
                labels: (0..model.classes()).map(|at| at.to_string()).collect(),
                ..Options::default()
            };
            let exported = export(model, &weights, &options)?;
            std::fs::write(output, kiln_onnx::encode(&exported.proto))?;
        }
        _ => return Err("expected weights and an output".into()),
    }
    Ok(())
}
