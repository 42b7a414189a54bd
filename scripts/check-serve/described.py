"""described.py ADDRESS [PROTOCOL.yaml]: has schemathesis send requests made from descriptions of the interface, valid and invalid
ones, and checks the answers: no error of the server, and status, type of content and form as described. The descriptions are the
server's own, and the protocol's as MLServer's package has it, or the protocol's own file (open_inference_rest.yaml of the
repository kserve/open-inference-protocol).
"""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import yaml

HERE = pathlib.Path(__file__).parent
ADDRESS = sys.argv[1]
# Names in paths, so that most requests are to a model that there is.
PARAMETERS = {"digits": ["model", "model_name", "MODEL_NAME"], "1": ["version", "model_version", "MODEL_VERSION"]}
# Valid by its description is any name, type and shape; the model takes one.
EXCLUDED = "positive_data_acceptance"


def protocol(description):
    """The protocol's description as it can be used, and with what the server has beyond it."""
    # A path with a literal $ before each name would be none of the protocol's.
    description["paths"] = {path.replace("${", "{"): item for path, item in description["paths"].items()}
    # MLServer's own.
    for path in [path for path in description["paths"] if path.rsplit("/", 1)[1] in ("infer_stream", "generate", "generate_stream")]:
        del description["paths"][path]
    schemas = description["components"]["schemas"]
    if "TensorData" in schemas:
        # `bytes` is no type of JSON.
        schemas["TensorData"] = {"type": "array"}
        # Parameters of MLServer's own, which others may ignore.
        schemas["Parameters"] = {"type": "object"}
    # Taken for left out, as by KServe and MLServer.
    for schema, keys in {"inference_request": ("id", "parameters", "outputs"), "request_input": ("parameters",),
                         "request_output": ("parameters",)}.items():
        properties = (schemas.get(schema) or schemas[schema.title().replace("_", "")])["properties"]
        for key in keys:
            # A reference takes no other key beside it.
            properties[key] = {"nullable": True, "allOf": [properties[key]]} if "$ref" in properties[key] else {
                **properties[key], "nullable": True}
    error = {"description": "error", "content": {"application/json": {"schema": {
        "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}}}
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if method != "parameters" and "{" in path:
                operation["responses"].setdefault("404", error)
            if method == "post":
                operation["responses"].setdefault("400", error)
    return description


def check(name, description, folder):
    file = folder / "description.json"
    file.write_text(json.dumps(description))
    lines = [f'"path.{parameter}" = "{value}"' for value, names in PARAMETERS.items() for parameter in names]
    (folder / "schemathesis.toml").write_text("[parameters]\n" + "\n".join(lines) + "\n")
    command = [pathlib.Path(sys.executable).parent / "st", "--config-file", folder / "schemathesis.toml", "run", file,
               "--url", f"http://{ADDRESS}", "--phases", "coverage,fuzzing", "--max-examples", "30", "--seed", "1",
               "--generation-database", "none", "--exclude-checks", EXCLUDED, "--continue-on-failure", "--no-color",
               "--warnings", "off"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tensors", "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, env=environment, cwd=folder, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{name}:\n{done.stdout}{done.stderr}")
    count = next(line.strip() for line in done.stdout.splitlines() if "generated" in line)
    print(f"schemathesis, {name}: {count}")


def main():
    with tempfile.TemporaryDirectory() as folder, urllib.request.urlopen(f"http://{ADDRESS}/openapi.json") as own:
        folder = pathlib.Path(folder)
        check("the server's description", json.load(own), folder)
        if len(sys.argv) > 2:
            check("the protocol's description", protocol(yaml.safe_load(pathlib.Path(sys.argv[2]).read_text())), folder)
        else:
            file = importlib.metadata.distribution("mlserver").locate_file("mlserver/rest/openapi/dataplane.json")
            check("the protocol's description by MLServer", protocol(json.loads(file.read_text())), folder)


main()
