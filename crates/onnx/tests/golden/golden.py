# /// script
# requires-python = ">=3.10"
# dependencies = ["onnx==1.22.0"]
# ///
"""Writes golden.onnx: a message with every field that kiln-onnx declares set to a value of its own.

It is no model that could run: the point is that the field numbers in crates/onnx/src/proto are ONNX's.
Run it in this folder with `uv run golden.py`, or with any Python that has the pinned onnx package.
"""

from onnx import AttributeProto, ModelProto, TensorProto


def props(owner, tag):
    owner.metadata_props.add(key=f"{tag}.key", value=f"{tag}.value")


def value_info(info, tag):
    info.name = f"{tag}.name"
    info.doc_string = f"{tag}.doc"
    info.type.denotation = "IMAGE"
    info.type.tensor_type.elem_type = TensorProto.FLOAT
    dims = info.type.tensor_type.shape.dim
    dims.add(dim_param="batch", denotation="DATA_BATCH")
    dims.add(dim_value=3)
    dims.add()
    props(info, tag)


model = ModelProto(
    ir_version=8,
    producer_name="producer",
    producer_version="1.2.3",
    domain="org.example",
    model_version=42,
    doc_string="model.doc",
)
model.opset_import.add(domain="", version=18)
model.opset_import.add(domain="ai.onnx.ml", version=3)
props(model, "model")
model.functions.add(name="function", domain="local")

graph = model.graph
graph.name = "graph"
graph.doc_string = "graph.doc"
props(graph, "graph")
value_info(graph.input.add(), "input")
value_info(graph.output.add(), "output")
value_info(graph.value_info.add(), "value_info")
graph.output.add(name="sequence").type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.INT64
graph.sparse_initializer.add(dims=[2, 2])

node = graph.node.add(
    op_type="Conv",
    name="conv",
    domain="org.example.ops",
    overload="overload",
    doc_string="node.doc",
    input=["input.name", "", "raw"],
    output=["output.name", "other"],
)
props(node, "node")
kinds = AttributeProto
node.attribute.add(name="f", type=kinds.FLOAT, f=0.5, doc_string="attribute.doc")
node.attribute.add(name="i", type=kinds.INT, i=-7)
node.attribute.add(name="zero", type=kinds.INT, i=0)
node.attribute.add(name="s", type=kinds.STRING, s=b"text")
node.attribute.add(name="t", type=kinds.TENSOR).t.CopyFrom(TensorProto(name="t.name"))
node.attribute.add(name="g", type=kinds.GRAPH).g.name = "g.name"
node.attribute.add(name="floats", type=kinds.FLOATS, floats=[1.5, -2.0])
node.attribute.add(name="ints", type=kinds.INTS, ints=[3, -1])
node.attribute.add(name="strings", type=kinds.STRINGS, strings=[b"a", b"b"])
node.attribute.add(name="tensors", type=kinds.TENSORS).tensors.add(name="tensors.name")
node.attribute.add(name="graphs", type=kinds.GRAPHS).graphs.add(name="graphs.name")
node.attribute.add(name="ref", type=kinds.FLOAT, ref_attr_name="alpha")
node.attribute.add(name="sparse", type=kinds.SPARSE_TENSOR).sparse_tensor.dims.append(1)
node.attribute.add(name="sparses", type=kinds.SPARSE_TENSORS).sparse_tensors.add(dims=[1])
node.attribute.add(name="tp", type=kinds.TYPE_PROTO).tp.denotation = "tp"
node.attribute.add(name="tps", type=kinds.TYPE_PROTOS).type_protos.add(denotation="tps")

tensor = graph.initializer.add
props(tensor(name="raw", data_type=TensorProto.FLOAT, dims=[2], raw_data=b"\0\0\x80?\0\0\0\xc0", doc_string="doc"), "raw")
tensor(name="float", data_type=TensorProto.FLOAT, dims=[2, 1], float_data=[1.0, -2.0])
tensor(name="int32", data_type=TensorProto.INT32, dims=[2], int32_data=[1, -2])
tensor(name="string", data_type=TensorProto.STRING, dims=[1], string_data=[b"text"])
tensor(name="int64", data_type=TensorProto.INT64, dims=[2], int64_data=[1, -(2**40)])
tensor(name="double", data_type=TensorProto.DOUBLE, dims=[1], double_data=[0.25])
tensor(name="uint64", data_type=TensorProto.UINT64, dims=[1], uint64_data=[2**63])
external = tensor(name="external", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
external.external_data.add(key="location", value="weights.bin")
external.external_data.add(key="offset", value="16")
for name, number in sorted(TensorProto.DataType.items(), key=lambda item: item[1]):
    tensor(name=f"type.{name}", data_type=number)

with open("golden.onnx", "wb") as file:
    file.write(model.SerializeToString(deterministic=True))
