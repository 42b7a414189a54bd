use std::fs;

use super::*;

fn sidecar(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.toml"), text).unwrap();
    fs::write(folder.path().join("names.txt"), "cat\ndog\n").unwrap();
    let model = folder.path().join("model.onnx");
    (folder, model)
}

fn error(model: &Path, request: &OverridesRequest) -> String {
    Resolved::new(model, request)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn a_request_goes_before_the_sidecar() {
    let (_folder, model) = sidecar("preprocess = \"caffe\"\nlabels = \"names.txt\"\nsize = 7");
    let specified = ModelOverrides {
        size: Some([4, 5]),
        ..ModelOverrides::default()
    };
    let resolved = Resolved::new(&model, &OverridesRequest::new(specified, None)).unwrap();
    let all = resolved.all();
    assert_eq!(
        (all.size, all.labels),
        (Some([4, 5]), Some(vec!["cat".into(), "dog".into()]))
    );
    let path = model.with_extension("toml");
    assert_eq!(
        resolved.specifiers(Origin::Declared, &[("size", |d| d.size.is_some())]),
        [Specifier::Request("size"), Specifier::Sidecar(&path)]
    );
    assert_eq!(
        resolved.specifiers(
            Origin::Declared,
            &[("preprocess", |d| d.preprocess.is_some())]
        ),
        [Specifier::Sidecar(&path)]
    );
}

#[test]
fn a_recipe_beside_the_model_is_no_sidecar() {
    let (folder, model) = sidecar("[[layers]]\ntype = \"flatten\"\n");
    let found = Resolved::new(&model, &OverridesRequest::default()).unwrap();
    assert_eq!(found.all(), ModelOverrides::default());
    // Unless it is named.
    let named = OverridesRequest {
        sidecar: Some(folder.path().join("model.toml")),
        ..OverridesRequest::default()
    };
    assert!(
        error(&model, &named)
            .contains("model.toml:1: unknown key `layers`: did you mean `labels`?")
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let (folder, model) = sidecar("layout = \"hwc\"");
    let message = error(&model, &OverridesRequest::default());
    assert!(
        message.contains("model.toml:1: `layout` cannot be \"hwc\": did you mean `nhwc`?"),
        "{message}"
    );
    let named = OverridesRequest {
        sidecar: Some(folder.path().join("none.toml")),
        ..OverridesRequest::default()
    };
    assert!(error(&model, &named).contains("none.toml: No such file"));
    fs::write(folder.path().join("model.toml"), "labels = \"none.txt\"").unwrap();
    let message = error(&model, &OverridesRequest::default());
    assert!(
        message.contains("model.toml:1: cannot use the labels"),
        "{message}"
    );
}
