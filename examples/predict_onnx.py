"""Predict crops with an exported model: onnxruntime, numpy and OpenCV, nothing else.

    python examples/predict_onnx.py model.onnx CROP.png [CROP.png …]

The model was trained on what TRACER cuts out of a photo; `python -m TRACER extract` makes such
crops. A model that was trained with `tracer.weights=null` takes whole photos.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def resize(image, side):
    """As in training: axes that shrink are averaged, then those that grow are interpolated."""
    smaller = [min(side, length) for length in image.shape[1::-1]]
    image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def likeliest(head, probabilities):
    """The code of a head's answer; in a product it is what the likeliest class says."""
    if not head["in_product"]:
        return int(probabilities[head["output"]].argmax())
    product = about["task"]["answer"]["product"]
    names = {other["head"]: other["names"] for other in about["answers"]}
    sizes = [len(names[other]) for other in product]
    codes = np.unravel_index(probabilities[head["output"]].argmax(), sizes)
    return int(codes[product.index(head["head"])])


def in_words(head, probabilities, spoken):
    """A head's answer in words: those of the sentence, or else the names."""
    shares, names = probabilities[head["output"]], head["names"]
    if head["kind"] == "number":
        return f"{shares @ np.array(head['middles']):.4g}"
    if head["kind"] == "multilabel":
        return ", ".join(names[tag] for tag in np.flatnonzero(shares >= head["threshold"])) or "–"
    return spoken.get(head["head"], names)[likeliest(head, probabilities)]


if len(sys.argv) < 3:
    sys.exit(__doc__)
model, *files = sys.argv[1:]
try:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
except Exception as error:  # a kind of its own for each way to be no model
    sys.exit(f"error: {model}: not a model that can be read ({error})")
about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
outputs = sorted({head["output"] for head in about["answers"]})
form = about["task"]["answer"]["sentence"].get("en", {})

for file in files:
    image = cv2.imread(file, cv2.IMREAD_COLOR)
    if image is None:
        sys.exit(f"error: {file}: not an image that can be read")
    crop = resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), about["input"]["side"])
    crops = np.ascontiguousarray(crop.transpose(2, 0, 1)[None])
    found = session.run(outputs, {about["input"]["name"]: crops})
    probabilities = {output: values[0] for output, values in zip(outputs, found, strict=True)}
    words = {head["head"]: in_words(head, probabilities, form) for head in about["answers"]}
    if form:
        said = form["text"].format(**words)
    elif len(words) == 1:
        said = words[about["answers"][0]["head"]]
    else:
        said = ", ".join(f"{head['title']}: {words[head['head']]}" for head in about["answers"])
    if about["classes"]:  # of a product, which has numbers, and one probability for all
        shares = probabilities["probabilities"]
        print(f"{file},{shares.argmax()},{said},{shares.max():.3f}")
    else:
        print(f"{file},{said}")
