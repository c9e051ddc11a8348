"""Cut faces out of photos so that both eyes always lie in the same place.

    python -m venv .align && .align/bin/pip install mediapipe==0.10.21
    .align/bin/python faces/align.py --photos DATA/train/images --out ALIGNED/train/images
    .align/bin/python faces/align.py --photos DATA/eval/images --out ALIGNED/eval/images
    cp DATA/eval/info.csv ALIGNED/eval/
    python train.py -c configs/lite0_128.json --set data_dir=ALIGNED tracer.weights=null

MediaPipe brings the weights of its face mesh along, which finds eyes above masks, too; it wants an
older protobuf than the project, hence an environment of its own, and nothing of the project is
imported here. Names and folders stay, and so does every photo: where no face is found, the eyes are
taken to be where people who are photographed for a card have them. What a model is asked later,
by test.py and the app, has to be aligned as well.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

SIZE = 150
EYES = np.array([[0.318, 0.314], [0.6685, 0.314]])
"""Where the two lie in the crop, as share of its side: those of dlib's face chips with a padding of
0.25, which reach from the brow to the chin."""
CORNERS = ((33, 133), (362, 263))
"""Of the left and the right eye, as MediaPipe numbers the points of its mesh."""
USUAL = np.array([[0.4, 0.4], [0.6, 0.4]])
"""Where they lie in a photo in which no face is found, as shares of its width and height."""
LEAST = 0.2
"""Confidence from which a face is one: there is always one, and a wrong crop is seldom worse than
that of ``USUAL``."""

Find = Callable[[np.ndarray], tuple[np.ndarray, str]]
"""(H, W, 3) uint8 RGB → the eyes, (2, 2) as shares of width and height, and who found them."""


def main() -> None:
    """Check the command line, then align."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty")
    parser.add_argument("--size", type=int, default=SIZE, help=f"px (default: {SIZE})")
    args = parser.parse_args()
    if not args.photos.is_dir():
        sys.exit(f"{args.photos}: no such folder")
    if args.out.exists() and any(args.out.iterdir()):
        sys.exit(f"{args.out}: not empty")
    print(dict(align_folder(args.photos, args.out, args.size, with_mediapipe())))


def align_folder(photos: Path, out: Path, size: int, find: Find) -> Counter[str]:
    """Align every photo below a folder; files that are none are left out.

    Args:
        photos: the folder.
        out: where each goes, by the path and name it has below ``photos``; losslessly, as a PNG
            whatever the name ends in, by which readers of photos don't go.
        size: of the crop, px.
        find: finds the eyes.

    Returns:
        Who found the eyes, and in how many photos.
    """
    found: Counter[str] = Counter()
    for path in sorted(path for path in photos.rglob("*") if path.is_file()):
        photo = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if photo is None:
            continue
        eyes, by = find(np.ascontiguousarray(photo[:, :, ::-1]))
        found[by] += 1
        target = out / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        height, width = photo.shape[:2]
        crop = aligned(photo, eyes * (width, height), size)
        target.write_bytes(cv2.imencode(".png", crop)[1].tobytes())
    return found


def aligned(photo: np.ndarray, eyes: np.ndarray, size: int) -> np.ndarray:
    """Turn, scale and shift a photo so that its eyes come to lie at ``EYES``.

    Args:
        photo: (H, W, 3) uint8.
        eyes: (2, 2) float, x and y of the left and right one in the photo, px.
        size: of the result, px.

    Returns:
        (``size``, ``size``, 3) uint8; what the photo lacks is its mirror image.
    """
    # At twice the size and averaged where the photo
    # has more pixels, which a warp would pass over.
    apart = size * (EYES[1] - EYES[0])[0]
    times = 2 if 0.75 * np.linalg.norm(eyes[1] - eyes[0]) > apart else 1
    side = size * times
    goal = EYES * side - 0.5
    # As complex numbers a turn with a scale is one product.
    turn = complex(*(goal[1] - goal[0])) / complex(*(eyes[1] - eyes[0]))
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = goal.mean(axis=0) - matrix @ eyes.mean(axis=0)
    warp = np.hstack([matrix, shift[:, None]])
    crop = cv2.warpAffine(photo, warp, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return crop if times == 1 else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def with_mediapipe() -> Find:
    """The eyes by MediaPipe's mesh, or else by its detector, which finds more masked faces."""
    try:
        from mediapipe.python.solutions import face_detection, face_mesh
    except ImportError:
        sys.exit("no package mediapipe here; install mediapipe==0.10.21 (see --help)")
    mesh = face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, min_detection_confidence=LEAST
    )
    detector = face_detection.FaceDetection(model_selection=0, min_detection_confidence=LEAST)

    def find(photo: np.ndarray) -> tuple[np.ndarray, str]:
        if faces := mesh.process(photo).multi_face_landmarks:
            points = faces[0].landmark
            eyes = [[(points[i].x, points[i].y) for i in corners] for corners in CORNERS]
            return np.array(eyes).mean(axis=1), "mesh"
        if faces := detector.process(photo).detections:
            points = faces[0].location_data.relative_keypoints  # the eyes come first
            return np.array([(point.x, point.y) for point in points[:2]]), "detector"
        return USUAL, "nobody"

    return find


if __name__ == "__main__":
    main()
