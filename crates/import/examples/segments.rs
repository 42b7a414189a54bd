//! `segments FILE [HEIGHT WIDTH] [--to VALUE] [--nodes]`: lists the segments of a network as tab-separated
//! values: name, what it is, shape, parameters, and the nodes with their shapes.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let nodes = arguments.iter().position(|it| it == "--nodes");
    let nodes = nodes.map(|at| arguments.remove(at)).is_some();
    let to = arguments.iter().position(|it| it == "--to");
    let to = to.map(|at| arguments.drain(at..at + 2).nth(1).expect("two were taken"));
    let (file, size) = arguments.split_first().ok_or("expected a file")?;
    let size: Vec<usize> = size.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
    let size = <[usize; 2]>::try_from(size).ok();
    let model = kiln_onnx::load(file)?;
    let graph = match to {
        Some(value) => kiln_import::graph_to(&model, size, &value)?,
        None => kiln_import::graph(&model, size)?,
    };
    println!("image\t{:?}", graph.image);
    for (at, segment) in graph.segments.iter().enumerate() {
        let head = if graph.classifier == Some(at) {
            "*"
        } else {
            ""
        };
        let shape = segment
            .shape()
            .map_or_else(|| "?".to_owned(), ToString::to_string);
        let (name, kind) = (&segment.name, segment.kind());
        let (count, nodes_in) = (segment.parameter_count(), segment.nodes.len());
        println!(
            "{head}{name}\t{kind}\t{shape}\t{count}\t{nodes_in}\t{}",
            segment.output
        );
        if let Err(error) = segment.check_typed() {
            println!("\tuntyped\t{error}");
        }
        for node in segment.nodes.iter().filter(|_| nodes) {
            let shape = node
                .shape
                .as_ref()
                .map_or_else(|| "?".to_owned(), ToString::to_string);
            let value = node.value.as_deref().unwrap_or("");
            println!(
                "\tnode\t{}\t{value}\t{shape}\t{:?}",
                node.op.name(),
                node.inputs
            );
        }
    }
    println!(
        "{} segments, {} of several nodes",
        graph.segments.len(),
        graph
            .segments
            .iter()
            .filter(|it| it.nodes.len() > 1)
            .count()
    );
    Ok(())
}
