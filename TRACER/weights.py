"""Getting a TRACER network with weights in it: released, shipped with the project, or one's own."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from base.checkpoint import read_tensors
from base.checkpoint_schema import Weights, first_problem
from TRACER.download import DownloadError, download
from TRACER.network import Tracer
from TRACER.official_keys import BLOCK_COUNTS, UNUSED, looks_official, translate
from utils.errors import CheckpointError, first_of, nearest
from utils.files import refuse_other_content, write_atomically
from utils.files import sha256 as file_digest

RELEASES = "https://github.com/Karel911/TRACER/releases/download/v1.0"
SAMPLE = Path(__file__).parent / "weights" / "te0_sample.safetensors"
SAMPLE_DIGEST = "d47b65edca4bb8e34d99c314c89faffe2dd72685b6b06f42633da891b6033df0"
"""``weights_digest`` of the sample weights, by which they are known under any name."""
DRAWN = "sample.json"
"""What ``faces.sample`` leaves in a folder of people that it has drawn."""
OFFICIAL_NAMES = tuple(f"te{scale}" for scale in range(len(BLOCK_COUNTS)))

log = logging.getLogger(__name__)


def load_tracer(
    weights: str | Path,
    *,
    scale: int | None = None,
    sha256: str | None = None,
    device: torch.device | str = "cpu",
    base_url: str = RELEASES,
) -> Tracer:
    """Build the network that a weights file belongs to and load it, in eval mode.

    Args:
        weights: ``"te0"`` ... ``"te7"`` (released by the authors, downloaded once into torch hub's
            cache), ``"sample"`` (shipped with the project), or the path of a released ``.pth``, of
            a checkpoint of ``python -m TRACER train`` or of a ``.safetensors``.
        scale: which the weights must be of; ``None`` takes any.
        sha256: which the file must have; ``None`` takes any.
        device: where the network shall live.
        base_url: where the released files are.

    Raises:
        CheckpointError: the file is missing, cannot be downloaded, is damaged, holds code, is no
            TRACER checkpoint or one of another scale, or its SHA-256 differs.
    """
    path = find_weights(weights, base_url=base_url)
    digest = file_digest(path)
    log.info("TRACER weights %s: %s, SHA-256 %s", weights, path, digest)
    if sha256 is not None and digest != sha256.lower():
        raise CheckpointError(
            f"{path}: its SHA-256 is {digest}, but {sha256.lower()} was asked for; delete the file"
            " to download it again, or correct the SHA-256"
        )
    # "te1" that holds TE0's weights would load, and crop otherwise than the name promises.
    if scale is None and str(weights) in OFFICIAL_NAMES:
        scale = OFFICIAL_NAMES.index(str(weights))
    state, settings = read_checkpoint(path)
    network = _build(state, settings, scale, path)
    # The sample file is older than the digest in files; its own is known.
    written = settings.get("digest", SAMPLE_DIGEST if path == SAMPLE else None)
    if written not in (None, weights_digest(network)):
        raise CheckpointError(f"{path}: damaged (its values have changed); get it again")
    return network.to(device).eval()


def find_weights(weights: str | Path, *, base_url: str = RELEASES) -> Path:
    """The local file behind a name or path as in ``load_tracer``, downloaded if need be.

    Raises:
        CheckpointError: there is no such file, or it cannot be downloaded.
    """
    path = weights_path(weights)
    if path.is_file():
        return path
    if str(weights) == "sample":
        raise CheckpointError(f"{SAMPLE}: the sample weights are missing from this copy")
    if str(weights) in OFFICIAL_NAMES:
        return _download(str(weights), path, base_url)
    hint = nearest(str(weights), (*OFFICIAL_NAMES, "sample"))
    raise CheckpointError(f"TRACER weights {str(weights)!r}: neither a file nor a name{hint}")


def weights_path(weights: str | Path) -> Path:
    """Where the file behind a name or path is, or would be once it is downloaded."""
    if str(weights) == "sample":
        return SAMPLE
    if str(weights) in OFFICIAL_NAMES:
        file_name = f"TRACER-Efficient-{str(weights)[2:]}.pth"
        return Path(torch.hub.get_dir()) / "checkpoints" / file_name
    return Path(weights)


def _download(name: str, path: Path, base_url: str) -> Path:
    url = f"{base_url}/{path.name}"
    try:
        download(url, path)
    except (DownloadError, OSError) as error:
        raise CheckpointError(
            f"TRACER weights {name!r}: {url} cannot be downloaded ({error}). Ways out: download it"
            f" by hand to {path} or give its path instead of {name!r}; or use the weights 'sample'"
            " that ship with the project; or set the weights to null and do without TRACER"
        ) from error
    # Printed, so that it can be pasted into tracer.sha256.
    print(f"TRACER weights {name}: saved to {path}, SHA-256 {file_digest(path)}")
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a weights file without running anything that it may contain.

    Returns:
        The state dict, without wrappers' prefixes; and what the file says of the network: any of
        ``scale``, ``static_padding``, ``input_size``.

    Raises:
        CheckpointError: the file is damaged, holds code, or no state dict.
    """
    if path.suffix == ".safetensors":
        state, settings = _read_safetensors(path)
    else:
        content = read_tensors(path)
        settings = content if isinstance(content, dict) and "model" in content else {}
        state = settings.get("model", content)
    try:
        file = _File.model_validate({**settings, "model": state})
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: not a TRACER checkpoint ({first_problem(error)})"
        ) from error
    for name, values in file.model.items():
        if not values.isfinite().all():
            raise CheckpointError(f"{path}: damaged, {name} holds NaN or Inf; use another file")
    settings = {key: settings[key] for key in _File.model_fields if key in settings}
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", k): v for k, v in file.model.items()}, settings


class _File(BaseModel):
    """What is read of a weights file."""

    model_config = ConfigDict(strict=True)
    model: Weights
    scale: Annotated[int, Field(ge=0, lt=len(BLOCK_COUNTS))] = 0
    static_padding: bool = True
    input_size: Annotated[int, Field(ge=32, le=4096)] | None = None
    digest: str | None = None
    """``weights_digest`` of what was written: safetensors has no checksum of its own."""


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    refuse_other_content(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        settings = json.loads(metadata.get("tracer", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({error})") from error
    return state, settings if isinstance(settings, dict) else {}


def _build(
    state: dict[str, Tensor], settings: dict[str, Any], scale: int | None, path: Path
) -> Tracer:
    found = detect_scale(state)
    if found is not None and scale is not None and found != scale:
        raise CheckpointError(f"{path}: holds weights of TE{found}, but TE{scale} was asked for")
    network = Tracer(
        (scale or 0) if found is None else found,
        static_padding=bool(settings.get("static_padding", True)),
        input_size=settings.get("input_size"),
    )
    if looks_official(state):
        state = {translate(k, network.scale): v for k, v in state.items() if k not in UNUSED}
    differences = _differences(state, network.state_dict())
    if differences:
        raise CheckpointError(f"{path}: not a TRACER checkpoint: {differences}")
    network.load_state_dict(state)
    return network


def detect_scale(state: dict[str, Tensor]) -> int | None:
    """Which TE-N a state dict belongs to, 0 ... 7, by its number of blocks and a decoder width;
    ``None`` where it is none. Names are as released or as in ``Tracer``.
    """
    block = re.compile(r"(?:model\._blocks\.(\d+)|encoder\.blocks\.(\d+\.\d+))\.")
    # B1 and B2 have equally many blocks; the width of stage 3 tells them apart.
    blocks = len({match[0] for key in state if (match := block.match(key))})
    width = state.get("rfb2.conv_res.conv.weight", state.get("fine.shortcut.conv.weight"))
    if width is None or width.ndim != 4:
        return None
    stage3_widths = (40, 40, 48, 48, 56, 64, 72, 80)
    known = zip((sum(counts) for counts in BLOCK_COUNTS), stage3_widths, strict=True)
    return {both: scale for scale, both in enumerate(known)}.get((blocks, width.shape[1]))


def _differences(state: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    shaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    groups = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": shaped,
    }
    return "; ".join(f"{len(v)} {name} ({first_of(v)})" for name, v in groups.items() if v)


def warn_of_sample_weights(digest: str | None, photos: Iterable[Path]) -> None:
    """Say so where the sample weights, which know drawn people alone, are to crop other photos;
    drawn ones have ``DRAWN`` in a folder up to four levels above.
    """
    if digest != SAMPLE_DIGEST:
        return
    # A few folders and not 20,000 photos are looked at.
    for folder in dict.fromkeys(photo.absolute().parent for photo in photos):
        if not any((above / DRAWN).exists() for above in (folder, *folder.parents[:3])):
            log.warning(
                "warning: the sample weights of TRACER are to crop the photos in %s: they know this"
                " project's drawn people alone and find anything in photographs; take te1"
                " (tracer.weights=te1, or --weights te1)", folder,
            )  # fmt: skip
            return


def weights_digest(network: Tracer) -> str:
    """SHA-256 over the network's settings and values, whatever file they came from."""
    return _digest(network.state_dict(), network_settings(network))


def _digest(state: dict[str, Tensor], settings: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings).encode())
    # Sorted: two versions of torch may list them in another order.
    for name, value in sorted(state.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def save_float16(network: Tracer, path: str | Path, made_by: str = "") -> None:
    """Write a network as safetensors, its convolutions in float16: half the size, and no code.

    Norms and biases stay float32: they are few, and running variances exceed float16's range.
    ``made_by``, a command line say, goes into the file's metadata.

    Raises:
        CheckpointError: a value does not fit float16.
        UserError: the file cannot be written.
    """
    state = {}
    for name, value in network.state_dict().items():
        kept = value.detach().cpu().contiguous()
        state[name] = kept.half() if value.ndim > 1 else kept
        if not torch.isfinite(state[name]).all():
            raise CheckpointError(f"{name}: its values do not fit float16; {path} is not written")
    settings = network_settings(network)
    # The digest is of what a reader gets: the float16 values, as float32.
    loaded = {name: value.float() if value.ndim > 1 else value for name, value in state.items()}
    described = json.dumps(settings | {"digest": _digest(loaded, settings)})
    metadata = {"tracer": described, "made_by": made_by}
    with write_atomically(path, "wb") as file:
        file.write(serialize(state, metadata=metadata))


def network_settings(network: Tracer) -> dict[str, Any]:
    """What a checkpoint has to say beside ``"model"`` for ``load_tracer`` to build its network."""
    return {
        "scale": network.scale,
        "static_padding": network.static_padding,
        "input_size": network.input_size,
    }
