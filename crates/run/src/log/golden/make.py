# /// script
# requires-python = ">=3.10"
# dependencies = ["tensorboard==2.21.0"]
# ///
"""Writes events.out.tfevents.golden: an event file with one event of each kind, by TensorBoard's own messages and writer.

Run it in this folder with `uv run make.py`, or with any Python that has the pinned tensorboard package.
"""

from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

text = summary_pb2.Summary.Value(
    tag="recipe/text_summary",
    metadata=summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")),
    tensor=tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),
        string_val=["    é = 1\n".encode()],
    ),
)
start = plugin_data_pb2.SessionStartInfo()
start.hparams["rate"].number_value = 0.5
start.hparams["softmax"].bool_value = False
start.hparams["type"].string_value = "adam"
data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
hparams = summary_pb2.Summary.Value(
    tag=metadata.SESSION_START_INFO_TAG,
    metadata=metadata.create_summary_metadata(data),
    tensor=metadata.NULL_TENSOR,
)
# Maps are in the order of their keys, as kiln writes them.
assert metadata.parse_session_start_info_plugin_data(hparams.metadata.plugin_data.content) == start
hparams.metadata.plugin_data.content = data.SerializeToString(deterministic=True)
scalars = [
    summary_pb2.Summary.Value(tag="train/loss", simple_value=1 / 3),
    summary_pb2.Summary.Value(tag="train/accuracy", simple_value=0.0),
]
events = [event_pb2.Event(file_version="brain.Event:2")]
events += [event_pb2.Event(summary=summary_pb2.Summary(value=[value])) for value in (text, hparams)]
events.append(event_pb2.Event(step=300, summary=summary_pb2.Summary(value=scalars)))
with (Path(__file__).parent / "events.out.tfevents.golden").open("wb") as file:
    writer = RecordWriter(file)
    for event in events:
        event.wall_time = 1.5
        writer.write(event.SerializeToString())
