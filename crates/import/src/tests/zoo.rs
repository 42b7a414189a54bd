//! VGG networks as various exporters write them. The weights have shapes and no values: finding
//! them is another matter than reading them, and 59 MB per test too many.

use kiln_onnx::{DataType, Dim, GraphBuilder, ModelProto, NodeBuilder, NodeProto, TensorProto};

use super::style::{Between, End, Padding, Style, Weights};

impl Style {
    /// The model. Layers are called as in Keras: `block1_conv1`, `block1_relu1`, `block1_pool`.
    pub fn model(self) -> ModelProto {
        let mut writer = Writer {
            graph: GraphBuilder::new("vgg"),
            shapes: Vec::new(),
            value: "input".into(),
            style: self,
        };
        let image = if self.nhwc {
            [224, 224, 3]
        } else {
            [3, 224, 224]
        };
        writer.graph.input("input", Dim::batched(image));
        if let Padding::PadAttributes = self.padding {
            writer.graph.opset(10);
        }
        if self.nhwc {
            writer
                .next("Transpose", "to_nchw", &[])
                .ints("perm", [0, 3, 1, 2]);
        }
        let mut channels = 3;
        for (block, (convs, filters)) in
            (1..).zip(self.blocks.into_iter().zip([64, 128, 256, 512, 512]))
        {
            for conv in 1..=convs {
                writer.conv(&format!("block{block}_conv{conv}"), channels, filters);
                writer.next("Relu", &format!("block{block}_relu{conv}"), &[]);
                channels = filters;
            }
            if block < 5 || !matches!(self.end, End::NoPool) {
                let pool = &mut writer.next("MaxPool", &format!("block{block}_pool"), &[]);
                pool.ints("kernel_shape", [2, 2])
                    .ints("strides", [2, 2])
                    .ints("pads", [0; 4])
                    .int("ceil_mode", 0);
            }
        }
        writer.end();
        writer.finish()
    }
}

struct Writer {
    graph: GraphBuilder,
    /// Initializers are added without values and get their shapes at last.
    shapes: Vec<(String, Vec<i64>)>,
    value: String,
    style: Style,
}

impl Writer {
    /// Adds a node after the last.
    fn next(&mut self, op_type: &str, name: &str, more: &[&str]) -> NodeBuilder<'_> {
        if self.style.between == Between::Identity && op_type != "Identity" {
            self.next("Identity", &format!("{name}_identity"), &[]);
        }
        let output = format!("{name}:0");
        let value = std::mem::replace(&mut self.value, output.clone());
        self.graph
            .node(op_type, name, &[&[value.as_str()], more].concat(), &output)
    }

    /// Adds a tensor of floats without values.
    fn weight(&mut self, name: &str, dims: &[usize]) {
        let dims: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
        let data_type = DataType::Float as i32;
        match self.style.weights {
            Weights::Initializer => self.initializer(name, dims),
            Weights::Constant => {
                let tensor = TensorProto {
                    dims,
                    data_type,
                    ..Default::default()
                };
                self.graph
                    .node("Constant", &format!("{name}/constant"), &[], name)
                    .tensor("value", tensor);
            }
            Weights::Identity => {
                self.initializer(&format!("{name}/shared"), dims);
                self.graph.node(
                    "Identity",
                    &format!("{name}/identity"),
                    &[&format!("{name}/shared")],
                    name,
                );
            }
            Weights::Quantized => {
                self.initializer(&format!("{name}/bytes"), dims);
                let bytes = format!("{name}/bytes");
                self.graph.node(
                    "DequantizeLinear",
                    &format!("{name}/dequantize"),
                    &[&bytes, &bytes],
                    name,
                );
            }
        }
    }

    fn initializer(&mut self, name: &str, dims: Vec<i64>) {
        self.graph.initializer(name, &[0], Vec::<f32>::new());
        self.shapes.push((name.to_owned(), dims));
    }

    fn conv(&mut self, name: &str, channels: usize, filters: usize) {
        let (pad, weight, bias) = (
            format!("{name}_pad"),
            format!("{name}.weight"),
            format!("{name}.bias"),
        );
        match self.style.padding {
            Padding::Explicit | Padding::Auto(_) => {}
            Padding::PadInputs => {
                self.graph
                    .initializer(&format!("{pad}s"), &[8], vec![0_i64, 0, 1, 1, 0, 0, 1, 1]);
                self.next("Pad", &pad, &[&format!("{pad}s")]);
            }
            Padding::PadAxes => {
                self.graph
                    .initializer(&format!("{pad}s"), &[4], vec![1_i64; 4]);
                self.graph
                    .initializer(&format!("{pad}_value"), &[], vec![0.0_f32]);
                self.graph
                    .initializer(&format!("{pad}_axes"), &[2], vec![-1_i64, -2]);
                self.next(
                    "Pad",
                    &pad,
                    &[
                        &format!("{pad}s"),
                        &format!("{pad}_value"),
                        &format!("{pad}_axes"),
                    ],
                );
            }
            Padding::PadAttributes => {
                self.next("Pad", &pad, &[])
                    .ints("pads", [0, 0, 1, 1, 0, 0, 1, 1])
                    .string("mode", "constant");
            }
        }
        self.weight(&weight, &[filters, channels, 3, 3]);
        let style = self.style;
        let bias_shape = if style.add {
            vec![1, filters, 1, 1]
        } else {
            vec![filters]
        };
        self.weight(&bias, &bias_shape);
        let own: &[&str] = if style.add {
            &[&weight]
        } else {
            &[&weight, &bias]
        };
        let node = &mut self.next("Conv", name, own);
        node.ints("kernel_shape", [3, 3])
            .ints("strides", [1, 1])
            .ints("dilations", [1, 1])
            .int("group", 1);
        match style.padding {
            Padding::Explicit => node.ints("pads", [1; 4]),
            Padding::Auto(mode) => node.string("auto_pad", mode),
            Padding::PadInputs => node.string("auto_pad", "VALID"),
            Padding::PadAxes | Padding::PadAttributes => node,
        };
        if style.add {
            self.next("Add", &format!("{name}_add"), &[&bias]);
        }
        if style.between == Between::BatchNorm {
            let statistics = format!("{name}_statistics");
            self.initializer(&statistics, vec![filters as i64]);
            self.next(
                "BatchNormalization",
                &format!("{name}_bn"),
                &[statistics.as_str(); 4],
            );
        }
    }

    fn end(&mut self) {
        match self.style.end {
            End::Base | End::NoPool => {}
            End::Dense => {
                self.next("Flatten", "flatten", &[]).int("axis", 1);
                self.initializer("fc.weight", vec![1000, 25088]);
                self.next("Gemm", "fc", &["fc.weight"]).int("transB", 1);
            }
            End::TwoHeads => {
                let features = self.value.clone();
                self.next("GlobalAveragePool", "average", &[]);
                self.graph
                    .node("GlobalMaxPool", "max", &[&features], "max:0");
            }
        }
    }

    fn finish(mut self) -> ModelProto {
        self.graph.output(&self.value, Dim::batched([512, 7, 7]));
        let mut model = self.graph.finish().unwrap();
        for tensor in &mut model.graph.as_mut().unwrap().initializer {
            if let Some((_, dims)) = self.shapes.iter().find(|(name, _)| *name == tensor.name) {
                tensor.dims.clone_from(dims);
            }
        }
        model
    }
}

/// Leaves the size of the image open.
pub fn open_size(model: &mut ModelProto, nhwc: bool) {
    let [height, width] = ["height", "width"].map(|name| Dim::Symbol(name.into()));
    let image = if nhwc {
        [height, width, Dim::Fixed(3)]
    } else {
        [Dim::Fixed(3), height, width]
    };
    let shape: Vec<Dim> = [Dim::Unknown].into_iter().chain(image).collect();
    let mut graph = GraphBuilder::new("input");
    graph
        .input("input", &shape)
        .node("Identity", "same", &["input"], "output");
    graph.output("output", &shape);
    let graph = graph.finish().unwrap().graph.unwrap();
    model.graph.as_mut().unwrap().input = graph.input;
}

/// The node of this name.
pub fn node<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut NodeProto {
    model
        .graph
        .as_mut()
        .unwrap()
        .node
        .iter_mut()
        .find(|node| node.name == name)
        .unwrap()
}

/// The initializer of this name.
pub fn initializer<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut TensorProto {
    model
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .iter_mut()
        .find(|tensor| tensor.name == name)
        .unwrap()
}
