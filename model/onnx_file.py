"""A classifier as an ONNX file, compared under onnxruntime with what torch makes of the model."""

import copy
import io
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from base.base_model import BaseModel
from base.heads import NumberHead
from base.task import Task
from model.answers import SINGLE_HEAD, ClassPrior, calibrated, decode
from model.decode import class_names, probabilities
from utils.errors import UserError

TOLERANCES = {"float32": 1e-4, "float16": 2e-2}
"""Largest difference of a probability from torch's in float32 that is let pass."""
CROPS, PROBABILITIES = "crops", "probabilities"
"""What the input is called, and the output for the classes of a product; the probabilities of
another head are called ``<head>_probabilities``, and logits like their head."""
# The first with LayerNormalization, which transformers would otherwise be written out for.
OPSET = 17
# Neither is the size that is traced, 2: one that got written down as a constant would show.
CHECKED_BATCHES = (1, 5)


def to_onnx(
    network: BaseModel,
    task: Task,
    side: int,
    precision: str,
    described: dict[str, str],
    views: Sequence[Callable[[Tensor], Tensor]] = (nn.Identity(),),
    decoding: ClassPrior | None = None,
) -> bytes:
    """The model as an ONNX file: crops in, logits per head and probabilities of the answers out.

    What turns logits into the answer is in the file, so that its users need not do it again.

    Args:
        network: on the CPU, in evaluation mode; left as it is.
        task: that it was taught.
        side: of the crops, px.
        precision: ``"float32"``, or ``"float16"`` for all but the heads.
        described: the metadata.
        views: of a crop, whose answers are averaged.
        decoding: class prior that multiplies the probabilities; ``None`` for none.

    Raises:
        UserError: the backbone has an operation that ONNX lacks.
    """
    names = [*network.heads, *outputs_of(task).values()]
    copied = copy.deepcopy(network)
    if precision == "float16":
        # The heads stay in float32, as in training: half precision makes equals of near answers.
        copied.half().classifiers.float()
    wrapped = _WithAnswers(copied, task, views, decoding).eval()
    # Two, since tracing may take an axis of length 1 for one to broadcast.
    crops = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what tracing leaves out, which the comparison shows
        try:
            # dynamo=True, the newer exporter, needs onnxscript, a dependency for this alone.
            torch.onnx.export(
                wrapped,
                (crops,),
                buffer,  # type: ignore[arg-type]  # documented for the exporter chosen below
                input_names=[CROPS],
                output_names=names,
                dynamic_axes={name: {0: "batch"} for name in (CROPS, *names)},
                opset_version=OPSET,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(f"this backbone can't be written as ONNX: {first}") from error
    exported = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(exported, described)
    onnx.checker.check_model(exported)
    return exported.SerializeToString()


def outputs_of(task: Task) -> dict[str, str]:
    """``"class"`` and each head outside a product → the output that holds its probabilities."""
    alone = {name: f"{name}_{PROBABILITIES}" for name in task.heads if name not in task.product}
    return ({SINGLE_HEAD: PROBABILITIES} if task.product else {}) | alone


class _WithAnswers(nn.Module):
    """A model that gives its logits one by one, and the adjusted answers of all views."""

    def __init__(
        self,
        network: BaseModel,
        task: Task,
        views: Sequence[Callable[[Tensor], Tensor]],
        decoding: ClassPrior | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.views = views
        self.decoding: ClassPrior = {
            name: torch.tensor(values, dtype=torch.float32)
            for name, values in (decoding or {}).items()
        }

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        seen = self.network(torch.cat([view(crops) for view in self.views]))  # (V·B, 3, S, S)
        found = probabilities(self.task, seen)
        answers = {}
        for name in outputs_of(self.task):
            head = self.task.heads.get(name)
            width = len(head.answers) if head else self.task.num_classes
            answers[name] = decode(self._mean(found[name], width), self.decoding, name)
        answers = calibrated(self.task, answers, self.decoding)
        # For those who look at them; probabilities are averaged by themselves above.
        logits = [self._mean(seen[head], n) for head, n in self.network.heads.items()]
        return (*logits, *answers.values())

    def _mean(self, values: Tensor, width: int) -> Tensor:
        """(V·B, width) → (B, width); every size but the batch's is a constant of the file."""
        return values.reshape(len(self.views), -1, width).mean(dim=0)


def describe(
    config: dict[str, Any],
    run_id: str,
    task: Task,
    heads: Iterable[str],
    precision: str,
    decoding: ClassPrior | None = None,
) -> dict[str, str]:
    """The metadata of the file: what its user has to know, as JSON texts by key; of the config of
    the run the name, the network, the crop and the views. ``decoding`` as for ``to_onnx``.
    """
    names = class_names(task, heads)
    described = {
        "model": {"name": config["name"], "run_id": run_id, "arch": config["arch"]},
        "precision": precision,
        "input": {
            "name": CROPS,
            "layout": "NCHW",
            "dtype": "uint8",
            # Keys are spelled as in the files that are exported already.
            "colour": "RGB",
            "side": config["data_loader"]["args"]["input_size"],
            "resize": "first axes that shrink, by area; then those that grow, linearly",
            "normalisation": "in the model",
        },
        "crop": config["tracer"],
        "heads": names["heads"],
        "classes": names["answer"],
        "answers": [_describe_head(task, name) for name in task.heads],
        "answer": {
            "tta": config.get("tta"),
            "decoding": decoding and {name: each.tolist() for name, each in decoding.items()},
            "applied": "in the model",
        },
        "task": task.to_json(),
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in described.items()}


def _describe_head(task: Task, name: str) -> dict[str, Any]:
    """What to make of the output that a head's answer comes from, without knowing the task."""
    head = task.heads[name]
    described = {
        "head": name,
        "title": head.title(),
        "kind": head.settings.kind,
        "output": outputs_of(task).get(name, PROBABILITIES),
        "in_product": name in task.product,
        "names": head.answer_names(),
    }
    if isinstance(head, NumberHead):
        described["middles"] = head.middles.tolist()
    if head.settings.kind == "multilabel":
        described["threshold"] = head.settings.threshold
    return described


def largest_difference(
    exported: bytes, task: Task, answers: Callable[[Tensor], Mapping[str, np.ndarray]], side: int
) -> float:
    """Compare the file's answers under onnxruntime with torch's on batches of random crops.

    Args:
        answers: crops (B, 3, side, side) uint8 → head → (B, its answers), and with a product
            ``"class"``, what test.py would write of them.

    Returns:
        The largest difference of a probability; NaN where one side gives NaN.
    """
    session = open_session(exported)
    draw, differences, outputs = np.random.default_rng(0), [], outputs_of(task)
    for batch in CHECKED_BATCHES:
        # Blotches under fine noise: of noise alone, a network sees little but the mean.
        coarse = draw.integers(0, 200, (batch, 3, 4, 4), dtype=np.uint8)
        blotches = np.kron(coarse, np.ones((-(-side // 4),) * 2, np.uint8))[..., :side, :side]
        crops = blotches + draw.integers(0, 56, blotches.shape, dtype=np.uint8)
        expected = answers(torch.from_numpy(crops))
        found = session.run(list(outputs.values()), {CROPS: crops})
        for name, values in zip(outputs, found, strict=True):
            differences.append(np.abs(values - expected[name]).max())
    return float(np.max(differences))


def open_session(exported: bytes) -> onnxruntime.InferenceSession:
    """An ONNX file, ready to run on the CPU."""
    options = onnxruntime.SessionOptions()
    # Errors alone: it warns of every initializer that it removes.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
