"""Tests of the built package. KILN is the command line that the results are compared with, MODEL a run of the quickstart's recipe on
tests/fixtures/digits."""

import csv
import io
import json
import os
import pathlib
import pickle
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

import kiln

KILN = os.environ["KILN"]
MODEL = pathlib.Path(os.environ["MODEL"])
DIGITS = pathlib.Path(__file__).parents[3] / "tests/fixtures/digits/test"


@pytest.fixture(scope="module", params=["tract", "ort"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(engine: str) -> kiln.Model:
    return kiln.Model(MODEL / "model.onnx", engine=engine, threads=2)


@pytest.fixture(scope="module")
def paths() -> list[pathlib.Path]:
    return sorted(DIGITS.rglob("*.png"))


def predicted(engine: str, path: pathlib.Path) -> tuple[list[str], np.ndarray]:
    """What `kiln predict` gives for the images of a folder: their paths, and all probabilities."""
    command = [KILN, "--threads", "2", "predict", MODEL / "model.onnx", path, "--engine", engine, "--csv"]
    text = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = [name for name in rows[0] if name.startswith("p_")]
    return [row["path"] for row in rows], np.array([[row[name] for name in columns] for row in rows], np.float32)


def test_probabilities_are_those_of_the_command_line(model: kiln.Model, engine: str) -> None:
    names, expected = predicted(engine, DIGITS)
    found = model.classify_batch([DIGITS / name for name in names])
    assert np.array_equal(found.probabilities, expected)


def test_all_kinds_of_images_are_the_same_image(model: kiln.Model, paths: list[pathlib.Path]) -> None:
    path = paths[0]
    pixels = np.asarray(Image.open(path))
    assert pixels.ndim == 2
    kinds = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path), pixels, pixels[..., None]]
    found = model.classify_batch(kinds)
    assert len(found) == len(kinds)
    for row in found.scores[1:]:
        assert np.array_equal(row, found.scores[0])
    one = model.classify(path)
    # A batch of one may be computed by another kernel.
    assert np.allclose(one.scores, found.scores[0], rtol=1e-4, atol=1e-5)
    assert one.label == model.labels[one.index] == one.top(3)[0][0]
    assert one.probability == pytest.approx(float(one.probabilities.max()))
    with pytest.raises(AttributeError):
        one.label = "another"  # type: ignore[misc]


def test_arrays_of_images_need_no_list(model: kiln.Model, paths: list[pathlib.Path]) -> None:
    stack = np.stack([np.asarray(Image.open(path)) for path in paths[:20]])
    found = model.classify_batch(stack)
    assert np.array_equal(found.scores, model.classify_batch(paths[:20]).scores)
    turned = stack.transpose(0, 2, 1)
    assert np.array_equal(model.classify_batch(turned).scores, model.classify_batch(np.ascontiguousarray(turned)).scores)


def test_arrow_goes_in_and_comes_out(model: kiln.Model, paths: list[pathlib.Path]) -> None:
    pa = pytest.importorskip("pyarrow")
    some = paths[:10]
    expected = model.classify_batch(some)
    encoded = pa.array([path.read_bytes() for path in some], pa.binary())
    structs = pa.array([{"bytes": path.read_bytes(), "path": path.name} for path in some])
    names = pa.array([str(path) for path in some])
    chunked = pa.chunked_array([encoded[:4], encoded[4:]])
    for images in [encoded, encoded.cast(pa.large_binary()), structs, names, chunked]:
        assert np.array_equal(model.classify_batch(images).scores, expected.scores)
    batch = expected.to_arrow()
    assert batch.column("label").to_pylist() == expected.names()
    assert batch.column("probability").to_pylist() == expected.confidences().tolist()
    assert np.array_equal(np.array(batch.column("probabilities").to_pylist(), np.float32), expected.probabilities)
    with pytest.raises(TypeError, match="bytes or of paths"):
        model.classify_batch(pa.array([1, 2]))
    with pytest.raises(kiln.ImageError, match="image 1: it is null"):
        model.classify_batch(pa.array([some[0].read_bytes(), None]))


def test_preprocessing_is_what_the_graph_takes(model: kiln.Model, paths: list[pathlib.Path]) -> None:
    values = model.preprocess(paths[:3])
    assert values.shape == (3, *model.input_shape) and values.dtype == np.float32
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(MODEL / "model.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: values})
    assert np.allclose(scores, model.classify_batch(paths[:3]).scores, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_read_says_which_and_why(model: kiln.Model, paths: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nno more")
    images = [paths[0], broken, paths[1], tmp_path / "missing.png"]
    with pytest.raises(kiln.ImageError, match=r"image 1: .*broken\.png"):
        model.classify_batch(images)
    found = model.classify_batch(images, errors="keep")
    assert sorted(found.errors) == [1, 3] and found.indices.tolist()[1] == -1
    assert np.isnan(found.probabilities[1]).all() and found.names()[1] is None and np.isnan(found.confidences()[3])
    assert found[0].label == model.classify_batch([paths[0]])[0].label
    with pytest.raises(kiln.ImageError):
        found[1]
    with pytest.raises(TypeError, match="image 0: expected a path"):
        model.classify_batch([3])
    with pytest.raises(TypeError, match="put it into a list"):
        model.classify_batch(str(paths[0]))
    with pytest.raises(TypeError, match="uint8"):
        model.classify_batch(np.zeros((2, 28, 28), np.float32))
    with pytest.raises(ValueError, match="shape"):
        model.classify_batch([np.zeros((2, 2, 2, 2), np.uint8)])
    with pytest.raises(kiln.ImageError):
        model.classify_batch([np.zeros((0, 4), np.uint8)])
    with pytest.raises(ValueError, match="batch_size"):
        model.classify_batch(paths, batch_size=0)
    assert len(model.classify_batch([])) == 0


def test_models_that_cannot_be_loaded_say_why(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "no.onnx"
    with pytest.raises(kiln.LoadError, match=r"no\.onnx"):
        kiln.Model(file)
    file.write_bytes(b"not a model")
    with pytest.raises(kiln.LoadError, match=r"no\.onnx"):
        kiln.Model(file)
    with pytest.raises(ValueError, match="engine|expected"):
        kiln.Model(file, engine="caffe")
    with pytest.raises(ValueError, match="threads"):
        kiln.Model(file, threads=0)
    with pytest.raises(ValueError, match="colour|settings"):
        kiln.Model(MODEL / "model.onnx", settings={"colour": "red"})
    assert issubclass(kiln.LoadError, kiln.KilnError) and issubclass(kiln.ImageError, kiln.KilnError)


def test_settings_are_those_of_a_sidecar(paths: list[pathlib.Path]) -> None:
    labels = [f"digit {number}" for number in range(10)]
    model = kiln.Model(MODEL / "model.onnx", settings={"labels": labels})
    assert list(model.labels) == labels
    assert model.classify(paths[0]).label.startswith("digit ")


def test_a_model_is_pickled_as_its_path(model: kiln.Model, engine: str, paths: list[pathlib.Path]) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert again.receipt == model.receipt | {"model": again.receipt["model"]}
    assert np.array_equal(again.classify_batch(paths).scores, model.classify_batch(paths).scores)
    assert engine in model.receipt["runtime"]["engine"] and repr(model).startswith("kiln.Model(")


def test_golden_vectors_prove_the_model(model: kiln.Model) -> None:
    verified = model.verify()
    assert verified["passed"] is True


def test_evaluation_is_that_of_the_command_line(model: kiln.Model, engine: str) -> None:
    found = kiln.evaluate(model, DIGITS)
    command = [KILN, "--threads", "2", "eval", str(MODEL / "model.onnx"), "--data", str(DIGITS), "--engine", engine, "--json", "-"]
    expected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for key in ["images", "accuracy", "loss", "confusion", "classes"]:
        assert found.get(key) == expected.get(key), key
    with pytest.raises(kiln.KilnError, match="nowhere"):
        kiln.evaluate(model, "nowhere")


def test_vectors_are_what_the_classifier_takes(model: kiln.Model, paths: list[pathlib.Path]) -> None:
    vectors = model.embed(paths[:12])
    assert vectors.shape[0] == 12 and vectors.dtype == np.float32 and vectors.shape[1] > 10
    assert np.allclose(vectors[:3], model.embed(paths[:3]), rtol=1e-4, atol=1e-5)
    with pytest.raises(kiln.LoadError, match="nothing"):
        model.embed(paths[:1], output="nothing")


def test_threads_share_a_model(model: kiln.Model, paths: list[pathlib.Path]) -> None:
    expected = model.classify_batch(paths).scores
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = model.classify_batch(paths).scores

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(np.array_equal(scores, expected) for scores in found.values())


def test_pil_images_are_prepared_as_their_files(model: kiln.Model, tmp_path: pathlib.Path) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (40, 30, 4), np.uint8)
    rgba = Image.fromarray(pixels)
    images = {
        "rgba.png": rgba,
        "rgb.png": rgba.convert("RGB"),
        "gray.png": rgba.convert("L"),
        "alpha.png": rgba.convert("LA"),
        "palette.png": rgba.convert("RGB").quantize(32),
        "bits.png": rgba.convert("1"),
        "deep.png": Image.fromarray((pixels[..., 0].astype(np.uint16) * 257)),
    }
    for name, image in images.items():
        path = tmp_path / name
        image.save(path)
        from_file, from_pil = model.preprocess([path]), model.preprocess([Image.open(path)])
        assert np.array_equal(from_file, from_pil), name
