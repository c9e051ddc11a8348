"""Grad-CAM maps as pictures."""

import cv2
import numpy as np


def heat_picture(crop: np.ndarray, heat: np.ndarray, side: int) -> np.ndarray:
    """A heat map over a grayed crop: the warmer, the more this place speaks for the answer.

    Args:
        crop: (S, S, 3) uint8, RGB.
        heat: (s, s) float in [0, 1].
        side: of the picture, px; (``side``, ``side``, 3) uint8 RGB is returned.
    """
    crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    # Cubic interpolation overshoots below 0 and above 1.
    heat = np.clip(cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1)
    colors = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    # (S, S) → (S, S, 1), darkened so that the colors stand out.
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None] * 0.75
    # The square root shows weak places, too; 0.7 leaves the photo to be seen below the hottest.
    opacity = (0.7 * np.sqrt(heat))[..., None]
    return (gray * (1 - opacity) + colors * opacity).astype(np.uint8)
