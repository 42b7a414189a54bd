"""For schemathesis: makes a part of the valid requests for inference ones that the model can answer, which chance does not."""

import json
import random

import schemathesis

GOOD = {"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": [0.5] * 784}


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not case.meta.generation.mode.is_positive or not isinstance(body, dict) or not isinstance(body.get("inputs"), list):
        return
    # By the request itself, so that each run sends the same ones.
    chance = random.Random(json.dumps(body, sort_keys=True, default=str)).random()
    if chance < 0.3:
        case.body = {**body, "inputs": [GOOD], "outputs": [{"name": "logits"}, {"name": "label"}]}
    elif chance < 0.6:
        case.body = {**body, "inputs": [{**GOOD, **{key: value for key, value in tensor.items() if key in ("data", "shape")}}
                                        for tensor in body["inputs"]]}
