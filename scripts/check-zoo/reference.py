"""The networks as ONNX models, made with the Python package `onnx`: batch normalizations folded into the convolutions before
them, padding left to the runtime where it can do TensorFlow's. So they differ from kiln's in more than their code."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self, tensors):
        self.tensors, self.nodes, self.constants = tensors, [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def node(self, op_type, inputs, **attributes):
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x, weight, bias, stride, groups=1, padding="SAME_UPPER"):
        number = len(self.nodes)
        inputs = [x, self.constant(f"w{number}", weight), self.constant(f"b{number}", bias)]
        pads = {"auto_pad": padding} if isinstance(padding, str) else {"pads": [padding] * 4}
        return self.node("Conv", inputs, strides=[stride, stride], group=groups, **pads)

    def folded(self, x, conv, norm, epsilon, **options):
        gamma, beta, mean, variance = (
            self.tensors[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + epsilon)
        weight = self.tensors[f"{conv}.weight"] * factor[:, None, None, None]
        return self.conv(x, weight, beta - mean * factor, **options)

    def relu6(self, x):
        number = len(self.nodes)
        return self.node("Clip", [x, self.constant(f"zero{number}", 0), self.constant(f"six{number}", 6)])

    def pooled(self, x):
        return self.node("Flatten", [self.node("GlobalAveragePool", [x])])

    def model(self, output, size):
        graph = helper.make_graph(
            self.nodes,
            "reference",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, size, size])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", None])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def efficientnet_lite0(tensors):
    table = [
        (1, 3, 1, 1, 32, 16),
        (2, 3, 2, 6, 16, 24),
        (2, 5, 2, 6, 24, 40),
        (3, 3, 2, 6, 40, 80),
        (3, 5, 1, 6, 80, 112),
        (4, 5, 2, 6, 112, 192),
        (1, 3, 1, 6, 192, 320),
    ]
    graph = Graph(tensors)

    def conv(x, conv, norm, **options):
        return graph.folded(x, conv, norm, 1e-3, **options)

    x = graph.relu6(conv("input", "_conv_stem", "_bn0", stride=2))
    block = 0
    for repeats, _, stride, expansion, inputs, outputs in table:
        for repeat in range(repeats):
            name, skip, stride = f"_blocks.{block}.", x, stride if repeat == 0 else 1
            wide = (inputs if repeat == 0 else outputs) * expansion
            if expansion != 1:
                x = graph.relu6(conv(x, name + "_expand_conv", name + "_bn0", stride=1))
            x = graph.relu6(conv(x, name + "_depthwise_conv", name + "_bn1", stride=stride, groups=wide))
            x = conv(x, name + "_project_conv", name + "_bn2", stride=1)
            if repeat > 0:
                x = graph.node("Add", [x, skip])
            block += 1
    x = graph.pooled(graph.relu6(conv(x, "_conv_head", "_bn1", stride=1)))
    head = [graph.constant("fc.w", tensors["_fc.weight"].T), graph.constant("fc.b", tensors["_fc.bias"])]
    return graph.model(graph.node("Gemm", [x, *head]), 224)


def mobilenet_v2(tensors):
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    graph = Graph(tensors)

    def conv(x, name, at, **options):
        return graph.folded(x, f"{name}.{at}", f"{name}.{at + 1}", 1e-5, **options)

    x, block, inputs = graph.relu6(conv("input", "features.0", 0, stride=2, padding=1)), 1, 32
    for expansion, outputs, repeats, stride in table:
        for repeat in range(repeats):
            name, skip, at = f"features.{block}.conv", x, 0
            if expansion != 1:
                x, at = graph.relu6(conv(x, name, 0, stride=1, padding=0)), 3
            step = stride if repeat == 0 else 1
            x = graph.relu6(conv(x, name, at, stride=step, groups=inputs * expansion, padding=1))
            x = conv(x, name, at + 3, stride=1, padding=0)
            if repeat > 0:
                x = graph.node("Add", [skip, x])
            block, inputs = block + 1, outputs
    return graph.model(graph.pooled(graph.relu6(conv(x, "features.18", 0, stride=1, padding=0))), 224)


def squeezenet(tensors):
    graph = Graph(tensors)

    def conv(x, name, stride=1):
        return graph.conv(x, tensors[name + ".0"].transpose(3, 2, 0, 1), tensors[name + ".1"], stride)

    def relu(x):
        return graph.node("Relu", [x])

    def pool(x):
        return graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])

    x = pool(relu(conv("input", "conv1", 2)))
    for number in range(2, 10):
        squeezed = relu(conv(x, f"fire{number}/squeeze1x1"))
        expanded = [relu(conv(squeezed, f"fire{number}/expand{kernel}")) for kernel in ("1x1", "3x3")]
        x = graph.node("Concat", expanded, axis=1)
        if number in (3, 5):
            x = pool(x)
    return graph.model(graph.pooled(conv(x, "conv10")), 227)


NETWORKS = {"efficientnet-lite0": efficientnet_lite0, "mobilenet-v2": mobilenet_v2, "squeezenet": squeezenet}
