//! The path of a node in the network, as its exporter wrote it down.

use kiln_onnx::NodeProto;

/// The key under which torch's exporter keeps the modules around a node: a Python list of their
/// paths, outermost first, and the node of its own graph last.
const SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// The most modules in one another that names tell.
const MAX_DEPTH: usize = 32;

/// Returns the modules around a node, outermost first, without the operator: `layer4`, `1`, `conv1`
/// for `/layer4/layer4.1/conv1/Conv`. Empty where the node has no name that says so.
pub fn of(node: &NodeProto) -> Vec<String> {
    let mut path = whole(node);
    path.truncate(MAX_DEPTH);
    path
}

fn whole(node: &NodeProto) -> Vec<String> {
    let scopes = node
        .metadata_props
        .iter()
        .find(|entry| entry.key == SCOPES)
        .and_then(|entry| scope(&entry.value));
    if let Some(scope) = scopes {
        return module(node, scope)
            .split('.')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
    }
    let parts: Vec<&str> = node
        .name
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let Some((_, modules)) = parts.split_last().filter(|_| parts.len() > 1) else {
        return plain(node).into_iter().collect();
    };
    let mut path: Vec<String> = Vec::new();
    let mut parent = "";
    for module in modules {
        // Torch repeats the parent: `layer4.1` in `layer4`.
        let own = module
            .strip_prefix(parent)
            .and_then(|rest| rest.strip_prefix('.'))
            .filter(|_| !parent.is_empty());
        let own = own.unwrap_or(module);
        path.extend(
            own.split('.')
                .filter(|part| !part.is_empty())
                .map(str::to_owned),
        );
        parent = module;
    }
    path
}

/// A name that is no path, unless it is just the operator with a number.
fn plain(node: &NodeProto) -> Option<String> {
    let name = node.name.trim_matches('/');
    let name = name.strip_prefix("node_").unwrap_or(name);
    let name = name.strip_prefix("p2o.").unwrap_or(name);
    let operator = node.op_type.to_ascii_lowercase();
    let lower = name.to_ascii_lowercase();
    let rest = lower.strip_prefix(&operator).unwrap_or(&lower);
    let numbered = |c: char| c.is_ascii_digit() || matches!(c, '_' | '.' | ':' | '-' | '@');
    (!rest.chars().all(numbered)).then(|| name.to_owned())
}

/// The path of the innermost module in a Python list of them.
fn scope(list: &str) -> Option<&str> {
    let items = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut items = items
        .rsplit(',')
        .map(|item| item.trim().trim_matches(['\'', '"']));
    // The last is no module.
    items.next()?;
    items.next().filter(|scope| !scope.starts_with('_'))
}

/// A convolution with which a batch normalization was fused has the scope of the latter: its weight
/// tells better, if both are in the same module.
fn module<'a>(node: &'a NodeProto, scope: &'a str) -> &'a str {
    let parent = |path: &'a str| path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let weight = node
        .input
        .get(1)
        .and_then(|name| name.strip_suffix(".weight"));
    weight
        .filter(|weight| node.op_type == "Conv" && parent(weight) == parent(scope))
        .unwrap_or(scope)
}

#[cfg(test)]
mod tests {
    use kiln_onnx::StringStringEntryProto;

    use super::*;

    fn node(name: &str, op_type: &str) -> NodeProto {
        NodeProto {
            name: name.into(),
            op_type: op_type.into(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn paths_are_those_of_modules() {
        for (name, op_type, path) in [
            ("/layer4/layer4.1/conv1/Conv", "Conv", "layer4 1 conv1"),
            (
                "/features/features.3/features.3.0/Conv",
                "Conv",
                "features 3 0",
            ),
            ("/layer4/layer4.1/Add", "Add", "layer4 1"),
            ("/Flatten", "Flatten", ""),
            ("model/conv1/Conv2D", "Conv", "model conv1"),
            ("Conv_12", "Conv", ""),
            ("node_Conv_12", "Conv", ""),
            ("p2o.Conv.12", "Conv", ""),
            ("Conv@12", "Conv", ""),
            ("12", "Conv", ""),
            ("", "Conv", ""),
            ("stem", "Conv", "stem"),
        ] {
            assert_eq!(of(&node(name, op_type)).join(" "), path, "{name}");
        }
    }

    #[test]
    fn torch_writes_scopes_beside_poor_names() {
        let scoped = |list: &str, weight: &str| {
            let mut node = node("node_Conv_3", "Conv");
            node.input = vec!["x".into(), weight.into()];
            node.metadata_props = vec![StringStringEntryProto {
                key: SCOPES.into(),
                value: list.into(),
            }];
            of(&node).join(" ")
        };
        let list = "['', 'layer1', 'layer1.0', 'layer1.0.bn1', 'batch_norm_1']";
        assert_eq!(scoped(list, "w"), "layer1 0 bn1");
        assert_eq!(scoped(list, "layer1.0.conv1.weight"), "layer1 0 conv1");
        assert_eq!(scoped(list, "layer2.0.conv1.weight"), "layer1 0 bn1");
        assert_eq!(scoped("['', 'flatten']", "w"), "");
        assert_eq!(scoped("[]", "w"), "");
        assert_eq!(scoped("", "w"), "");
    }
}
