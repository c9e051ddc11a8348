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


model, *files = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}

for file in files:
    image = cv2.imread(file, cv2.IMREAD_COLOR)
    if image is None:
        sys.exit(f"error: {file}: not an image that can be read")
    crop = resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), about["input"]["side"])
    crops = np.ascontiguousarray(crop.transpose(2, 0, 1)[None])
    (probabilities,) = session.run(["probabilities"], {about["input"]["name"]: crops})
    answer = int(probabilities[0].argmax())
    print(f"{file},{answer},{about['classes'][answer]},{probabilities[0, answer]:.3f}")
