"""Answer photos with the pair of files of `tools.export --with-crop`, without torch.

    python -m examples.predict_photo model.onnx PHOTO [PHOTO …]

Called where this project lies: cutting out and wording are its own. Beside onnxruntime it takes
numpy, OpenCV, Pillow and pydantic. Of each photo a line: file, answer, probability.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from base.task import Task
from base.task_settings import TaskSettings
from model.answers import with_marginals
from TRACER.crops import extract_crop, resize
from TRACER.settings import CropSettings
from utils.errors import PhotoError
from utils.images import read_image

if len(sys.argv) < 3:
    sys.exit(__doc__)
model, *photos = sys.argv[1:]
files = (model, Path(model).with_suffix(".crop.onnx"))
try:
    classifier, tracer = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files
    )
except Exception as error:  # a kind of its own for each way to be no model
    sys.exit(f"error: {error}")
about = {k: json.loads(v) for k, v in classifier.get_modelmeta().custom_metadata_map.items()}
task, side = Task(TaskSettings.model_validate(about["task"])), about["input"]["side"]
given = {key: about["crop"][key] for key in CropSettings.model_fields if key in about["crop"]}
settings = CropSettings.model_validate(given | {"crop_size": given["crop_size"] or side})
outputs = {"class" if h["in_product"] else h["head"]: h["output"] for h in about["answers"]}
photo_in = tracer.get_inputs()[0]

for file in photos:
    try:
        photo = read_image(file)
    except PhotoError as error:
        sys.exit(f"error: {error}")
    seen = cv2.resize(photo, photo_in.shape[1:3], interpolation=cv2.INTER_LINEAR)
    (saliency,) = tracer.run(None, {photo_in.name: seen[None]})
    crop = resize(extract_crop(photo, saliency[0], settings).crop, side, side)
    batch = np.ascontiguousarray(crop.transpose(2, 0, 1)[None])
    values = classifier.run([*outputs.values()], {about["input"]["name"]: batch})
    found = with_marginals(task, dict(zip(outputs, values, strict=True)))
    answer = {name: values[0] for name, values in task.predict(found).items()}
    confidence = task.confidence(found)
    print(f"{file},{task.sentence(answer)},{'' if confidence is None else f'{confidence[0]:.3f}'}")
