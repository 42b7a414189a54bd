use std::fs;

use super::*;

fn sidecar(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.toml"), text).unwrap();
    fs::write(folder.path().join("names.txt"), "cat\ndog\n").unwrap();
    let model = folder.path().join("model.onnx");
    (folder, model)
}

fn error(model: &Path, args: &DeclarationArgs) -> String {
    Declared::by_options(model, args)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn options_go_before_the_sidecar() {
    let (_folder, model) = sidecar("preprocess = \"caffe\"\nlabels = \"names.txt\"\nsize = 7");
    let args = DeclarationArgs {
        size: Some([4, 5]),
        ..DeclarationArgs::default()
    };
    let declared = Declared::by_options(&model, &args).unwrap();
    let all = declared.declaration();
    assert_eq!(
        (all.size, all.labels),
        (Some([4, 5]), Some(vec!["cat".into(), "dog".into()]))
    );
    let size = declared.describe(Origin::Declared, &[("size", |said| said.size.is_some())]);
    let preprocess = declared.describe(
        Origin::Declared,
        &[("preprocess", |said| said.preprocess.is_some())],
    );
    assert!(
        size.starts_with("--size, ") && preprocess.ends_with("model.toml"),
        "{size}; {preprocess}"
    );
}

#[test]
fn a_recipe_beside_the_model_is_no_sidecar() {
    let (folder, model) = sidecar("[[layers]]\ntype = \"flatten\"\n");
    let found = Declared::by_options(&model, &DeclarationArgs::default()).unwrap();
    assert_eq!(found.declaration(), ModelOverrides::default());
    // Unless it is named.
    let named = DeclarationArgs {
        sidecar: Some(folder.path().join("model.toml")),
        ..DeclarationArgs::default()
    };
    assert!(
        error(&model, &named)
            .contains("model.toml:1: unknown key `layers`: did you mean `labels`?")
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let (folder, model) = sidecar("layout = \"hwc\"");
    let message = error(&model, &DeclarationArgs::default());
    assert!(
        message.contains("model.toml:1: `layout` cannot be \"hwc\": did you mean `nhwc`?"),
        "{message}"
    );
    let named = DeclarationArgs {
        sidecar: Some(folder.path().join("none.toml")),
        ..DeclarationArgs::default()
    };
    assert!(error(&model, &named).contains("none.toml: No such file"));
    fs::write(folder.path().join("model.toml"), "labels = \"none.txt\"").unwrap();
    let message = error(&model, &DeclarationArgs::default());
    assert!(
        message.contains("model.toml:1: cannot use the labels"),
        "{message}"
    );
}
