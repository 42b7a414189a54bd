"""check.py KILN MODEL WORK: compares what kiln makes of objects with what it makes of the same files on the disk."""

import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tarfile
import time

import boto3
import moto.settings
import pyarrow
import pyarrow.parquet
from moto.server import ThreadedMotoServer

from proxy import Proxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS = ROOT / "tests/fixtures/digits"
SIGNATURE = "X-Amz-Credential=WHO&X-Amz-Signature=f0e1d2c3b4a5968778695a4b3c2d1e0f"
BUCKET = "digits"
ROWS, GROUP = 40_000, 500

kiln, model, work = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
secrets = [SIGNATURE.split("=")[-1]]


def digits(subset: str) -> list[tuple[bytes, str]]:
    paths = sorted((DIGITS / subset).glob("*/*.png"))
    return [(path.read_bytes(), path.parent.name) for path in paths]


def write_parquet(path: pathlib.Path, images: list[tuple[bytes, str]], rows: int, first: int = 0) -> None:
    """Rows of digits, again and again, without compression and dictionaries, so that bytes are as many as they would be of others."""
    names = sorted({label for _, label in images})
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    note = {"huggingface": json.dumps({"info": {"features": features}})}
    struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", struct), ("label", pyarrow.int64())], metadata=note)
    with pyarrow.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(first, first + rows, GROUP):
            numbers = range(start, min(start + GROUP, first + rows))
            group = {
                "image": [{"bytes": images[n % len(images)][0], "path": f"{n}.png"} for n in numbers],
                "label": [names.index(images[n % len(images)][1]) for n in numbers],
            }
            writer.write_table(pyarrow.table(group, schema))


def write_tar(path: pathlib.Path, images: list[tuple[bytes, str]], first: int) -> None:
    with tarfile.open(path, "w") as tar:
        for number, (content, label) in enumerate(images, first):
            for ending, data in (("png", content), ("cls", label.encode())):
                info = tarfile.TarInfo(f"{number:06}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def run(*arguments: str, env: dict[str, str] | None = None, fails: bool = False) -> str:
    """Runs kiln; returns everything that it printed. No secret may be in it, or in a file that it wrote."""
    # Neither credentials nor services of this machine.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "CLOUDSDK_"))}
    command = [kiln, *map(str, arguments)]
    done = subprocess.run(command, env={**clean, "HOME": str(work), **(env or {})}, capture_output=True, text=True, timeout=600)
    printed = done.stdout + done.stderr
    if (done.returncode != 0) != fails:
        sys.exit(f"{command} ended with {done.returncode}:\n{printed}")
    for secret in secrets:
        assert secret not in printed, (command, printed)
    if fails:
        errors = [line for line in printed.splitlines() if line.startswith("error")]
        assert len(errors) == 1, printed
    return printed


def check_files() -> None:
    for path in work.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in secrets:
                assert secret.encode() not in content, path


def same(one: pathlib.Path, prefix: str, other: pathlib.Path, other_prefix: str) -> None:
    """Both files are the same but for where the images lie."""
    left, right = one.read_text(), other.read_text()
    assert left.count(prefix) == right.count(other_prefix) > 100, (one, other)
    assert left.replace(prefix, "") == right.replace(other_prefix, ""), (one, other)


def main() -> None:
    images = digits("test") + digits("train")
    local = work / "local"
    for folder in ("parquet/data", "tar", "train"):
        (local / folder).mkdir(parents=True)
    for part in range(2):
        name = f"test-{part:05}-of-00002.parquet"
        write_parquet(local / "parquet/data" / name, images, ROWS // 2, part * ROWS // 2)
    for part in range(4):
        write_tar(local / f"tar/digits-{part:03}.tar", images * 4, part * len(images) * 4)
    for subset in ("train", "test"):
        some = digits(subset)
        write_parquet(local / f"train/{subset}-00000-of-00001.parquet", some, len(some))
    size = sum(path.stat().st_size for path in (local / "parquet").rglob("*.parquet"))

    # Five keys in a part of a list, so that lists go on.
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "5"
    os.environ.update(AWS_ACCESS_KEY_ID="first", AWS_SECRET_ACCESS_KEY="first", AWS_DEFAULT_REGION="us-east-1")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    upstream = "127.0.0.1:{}".format(server.get_host_and_port()[1])
    iam = boto3.client("iam", endpoint_url=f"http://{upstream}")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    secrets.append(key["SecretAccessKey"])
    s3 = boto3.client("s3", endpoint_url=f"http://{upstream}")
    s3.create_bucket(Bucket=BUCKET)
    for path in sorted(local.rglob("*")):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, str(path.relative_to(local)))
    for number in range(12):
        s3.put_object(Bucket=BUCKET, Key=f"tar/notes/{number}.txt", Body=b"nothing")
    # From now on the server checks signatures and rights.
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

    proxy = Proxy(upstream, local, SIGNATURE)
    env = {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_REGION": "us-east-1",
    }
    root = f"s3://{BUCKET}"

    def evaluate(data: str, name: str, *options: str, **kwargs) -> pathlib.Path:
        out = work / f"{name}.csv"
        run("eval", model, "--data", data, "--predictions", out, "--json", work / f"{name}.json", "--quiet", *options, **kwargs)
        return out

    whole = evaluate(local / "parquet", "parquet")
    tars = evaluate(local / "tar", "tar")
    for name, data in (("folder", "/parquet/"), ("plain", "/parquet"), ("glob", "/parquet/data/test-*.parquet")):
        proxy.reset()
        same(evaluate(root + data, f"s3-{name}", env=env), f"{root}/", whole, f"{local}/")
        assert proxy.bytes < 1.1 * size, (proxy.bytes, size)
        print(f"{root}{data}: {proxy.requests} requests, {proxy.bytes:,} of {size:,} bytes; as from the disk")
    for name, data in (("tar", "/tar/digits-{000..003}.tar"), ("tars", "/tar/")):
        same(evaluate(root + data, f"s3-{name}", env=env), f"{root}/", tars, f"{local}/")
        print(f"{root}{data}: as from the disk")

    for shard in range(1, 5):
        proxy.reset()
        evaluate(f"{root}/parquet/", f"shard-{shard}", "--shard", f"{shard}/4", env=env)
        share = proxy.bytes / size
        print(f"shard {shard}/4: {proxy.requests} requests, {proxy.bytes:,} of {size:,} bytes ({share:.1%})")
        assert 0.2 < share < 0.3, share
    merged = work / "merged.csv"
    run("merge", "-o", merged, *(work / f"shard-{shard}.csv" for shard in range(1, 5)), "--quiet")
    assert merged.read_bytes() == (work / "s3-folder.csv").read_bytes()

    for name, data, expected in (("parquet", "/parquet/", whole), ("tar", "/tar/", tars)):
        proxy.reset(faults=True)
        same(evaluate(root + data, f"faults-{name}", env=env), f"{root}/", expected, f"{local}/")
        assert proxy.faulty > 3
        print(f"{root}{data} with {proxy.faulty} of {proxy.requests} requests refused or cut: as from the disk")

    seconds = {}
    for latency in (0.0, 0.1):
        proxy.reset(latency=latency)
        start = time.monotonic()
        evaluate(f"{root}/parquet/", f"latency-{latency}", env=env)
        seconds[latency] = time.monotonic() - start
    print(f"{ROWS:,} rows in {ROWS // GROUP} row groups: {seconds[0.0]:.1f} s, with 100 ms before each answer {seconds[0.1]:.1f} s")

    for command in ("predict", "embed"):
        ending = "npy" if command == "embed" else "csv"
        outs = [work / f"{command}-{at}.{ending}" for at in range(2)]
        for out, data in zip(outs, (str(local / "tar"), f"{root}/tar/")):
            options = ("--data", data, "--vectors", out) if command == "embed" else (data, "--predictions", out)
            run(command, model, *options, "--quiet", env=env)
        if command == "embed":
            assert outs[0].read_bytes() == outs[1].read_bytes()
        else:
            same(outs[1], f"{root}/", outs[0], f"{local}/")
    counts = [json.loads(run("data", data, "--json", "--quiet", env=env)) for data in (local / "train", f"{root}/train/")]
    assert counts[0]["totals"] == counts[1]["totals"] and sum(counts[0]["totals"]) == len(images)
    weights = []
    for at, files in enumerate((local / "train", f"{root}/train/")):
        runs = work / f"runs-{at}"
        options = ("--set", "data.dataset=", "--set", f"data.files={files}", "--set", "training.epochs=1", "--runs", runs, "--quiet")
        run("train", ROOT / "models/quickstart.toml", *options, env=env)
        (found,) = runs.glob("*/weights.safetensors")
        weights.append(found.read_bytes())
    assert weights[0] == weights[1]
    print("predict, embed, data and train: as from the disk")

    # A signed URL.
    proxy.reset()
    web = f"{proxy.url}/web/parquet/data/test-{{00000..00001}}-of-00002.parquet?{SIGNATURE}"
    same(evaluate(web, "web"), f"{proxy.url}/web/", whole, f"{local}/")
    assert "expected a URL without one" in run("data", web, fails=True)
    printed = run("eval", model, "--data", f"{proxy.url}/web/tar/digits-000.tar?{SIGNATURE}x", fails=True)
    assert "may not be read with the query of its URL: the server answered 403" in printed, printed
    print("http:// with a signature in the query: as from the disk")

    # Errors.
    wrong = {**env, "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"][::-1]}
    secrets.append(wrong["AWS_SECRET_ACCESS_KEY"])
    for name, told, data, environment in (
        ("a wrong secret", "403 (SignatureDoesNotMatch)", "/parquet/", wrong),
        ("an unknown key", "403 (InvalidAccessKeyId)", "/parquet/", {**env, "AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}),
        ("a missing object", "404 (NoSuchKey)", "/parquet/data/none.parquet", env),
        ("a missing bucket", "404 (NoSuchBucket)", "-none/x/", env),
        ("an empty folder", "found none", "/nothing/", env),
    ):
        printed = run("eval", model, "--data", root + data, fails=True, env=environment)
        assert told in printed, printed
        print(f"{name}: {printed.splitlines()[0]}")
    proxy.reset(other_after=3)
    printed = run("eval", model, "--data", f"{root}/parquet/", fails=True, env=env)
    assert "changed while it was read" in printed, printed
    check_files()
    server.stop()


main()
