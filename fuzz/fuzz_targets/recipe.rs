//! Any text is a recipe or an error; a recipe survives a round trip.
#![no_main]

use kiln_model::Recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(recipe) = Recipe::parse(text, "recipe.toml", "recipe", &[]) {
        assert_eq!(Recipe::parse(&recipe.to_toml(), "recipe.toml", "recipe", &[]), Ok(recipe));
    }
});
