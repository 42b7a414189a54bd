"""Random weights for graphs without them, as a trained network has them."""

import numpy as np
import onnx


def weights(op, at, shape, others, generator):
    """Returns values for an input of a node such as a trained network has: activations keep their scale, statistics of batch
    normalization are not 0 and 1."""
    if op in ("BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization") and at in (1, 4):
        return generator.uniform(0.5, 1.5, shape)
    if op == "Conv" and at == 1:
        return generator.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    if op == "MatMul" and at == 1 or op == "Gemm" and at == 1 and not others.get("transB"):
        return generator.normal(0, np.sqrt(1 / shape[-2]), shape)
    if op == "Gemm" and at == 1:
        return generator.normal(0, np.sqrt(1 / shape[-1]), shape)
    return generator.normal(0, 0.1, shape)


def fill(model):
    """Gives the tensors without values some."""
    generator = np.random.default_rng(7)
    uses = {}
    for node in model.graph.node:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        for at, name in enumerate(node.input):
            uses.setdefault(name, (node.op_type, at, attributes))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.raw_data and not tensor.float_data:
            op, at, attributes = uses[tensor.name]
            values = weights(op, at, list(tensor.dims), attributes, generator)
            tensor.raw_data = values.astype(np.float32).tobytes()
