"""TRACER's attention modules: over channels, over space, on edges and on the object.

Formulas: Lee, Shin, Han, "TRACER: Extreme Attention Guided Salient Object Tracing Network",
AAAI 2022 (arXiv 2112.07380), in the form the released checkpoints were trained with.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from TRACER.layers import ConvLogit, DilatedBlock

FREQUENCY_RADIUS = 16
CONFIDENCE_RATIO = 0.1
DENOISING_RATIO = 0.93


class ChannelAttention(nn.Module):
    """One confidence per channel, from self-attention between the channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(CONFIDENCE_RATIO)
        self.query = nn.Conv2d(channels, channels, 1, bias=False)
        self.key = nn.Conv2d(channels, channels, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.project = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> (B, C, 1, 1) float32 in (0, 1).

        Runs in float32 under autocast: the vectors are tiny, and half precision would make ties
        among the confidences that are ranked later.
        """
        with torch.autocast(x.device.type, enabled=False):
            # (B, C, H, W) → (B, C, 1, 1)
            pooled = x.float().mean(dim=(2, 3), keepdim=True)
            pooled = self.dropout(self.norm(pooled))
            # (B, C, 1, 1) → (B, C, 1) each: a channel is a token of one number.
            query, key, value = (f(pooled).flatten(2) for f in (self.query, self.key, self.value))
            weights = torch.softmax(query @ key.transpose(-2, -1), dim=-1)  # (B, C, C)
            attended = weights @ value  # (B, C, 1)
            # Not divided by the root of the width, as transformers are: so the authors trained.
            return torch.sigmoid(self.project(attended.unsqueeze(-1)))


class UnionAttention(nn.Module):
    """Channel attention, then attention between the rows of what the confident channels show."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = ChannelAttention(channels)
        self.norm = nn.BatchNorm2d(channels)
        self.query = nn.Conv2d(channels, 1, 1, bias=False)
        self.key = nn.Conv2d(channels, 1, 1, bias=False)
        self.value = nn.Conv2d(channels, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> (B, 1, H, W) float32 logit."""
        confidence = self.channels(x)
        # + 1: a residual, so that no channel vanishes here.
        x = self.norm(x * (confidence + 1).to(x.dtype))
        x = x * keep_confident(confidence).to(x.dtype)
        # (B, C, H, W) → (B, 1, H, W) each: rows are the tokens, columns their features.
        query, key, value = (f(x).float() for f in (self.query, self.key, self.value))
        with torch.autocast(x.device.type, enabled=False):
            # (B, 1, H, H) @ (B, 1, H, W) → (B, 1, H, W)
            return torch.softmax(query @ key.transpose(-2, -1), dim=-1) @ value + value


def keep_confident(confidence: Tensor) -> Tensor:
    """Set an image's least confident tenth of the channels, (B, C, 1, 1) float32, to zero."""
    # (B, C, 1, 1); the quantile lies between two ranks.
    ranked, place = confidence.sort(dim=1).values, CONFIDENCE_RATIO * (confidence.shape[1] - 1)
    below = int(place)  # torch.quantile does the same, but has no counterpart in ONNX
    threshold = torch.lerp(ranked[:, below, None], ranked[:, below + 1, None], place - below)
    # By value and not by rank, so that of equal confidences all go or all stay.
    return torch.where(confidence > threshold, confidence, 0.0)


class EdgeModule(nn.Module):
    """Finds edges in the high frequencies of a feature map and adds them to it."""

    keep: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = ChannelAttention(channels)
        self.dilated = DilatedBlock(channels, channels)
        self.logit = ConvLogit(channels)
        self.register_buffer("keep", keep_beyond(FREQUENCY_RADIUS), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Add edges to (B, C, H, H), H even and at least twice ``FREQUENCY_RADIUS``.

        Returns:
            The sum, (B, C, H, H), and the edge logit, (B, 1, H, H) float32, whose ReLU was added.
        """
        high = self.high_pass(x)
        high = high * (self.channels(high) + 1)
        logit = self.logit(self.dilated(high.to(x.dtype)))
        return x + functional.relu(logit).to(x.dtype), logit

    def high_pass(self, x: Tensor) -> Tensor:
        """x: (B, C, H, H) -> magnitude of its high frequencies, (B, C, H, H) float32, >= 0.

        The frequencies to remove are the same few at every H: only they are touched. Half
        precision FFT on CUDA takes powers of two only, hence float32 under autocast.
        """
        radius, side = FREQUENCY_RADIUS, x.shape[-1]
        with torch.autocast(x.device.type, enabled=False):
            # (B, C, H, H) → (B, C, H, H/2 + 1) complex: the other half is its mirror image.
            spectrum = torch.fft.rfft2(x.float())
            spectrum[..., :radius, :radius] *= self.keep[:radius]
            # Negative vertical frequencies stand at the end, as fftfreq has them.
            spectrum[..., 1 - radius :, :radius] *= self.keep[1 - radius :]
            # `s`, since half a spectrum does not tell whether H is even.
            return torch.fft.irfft2(spectrum, s=(side, side)).abs()


def keep_beyond(radius: int) -> Tensor:
    """Which of the lowest frequencies of a map lie at least ``radius`` from zero.

    Returns:
        (2 * radius - 1, radius) float32, 0 or 1: vertical frequencies 0 ... radius - 1, then
        1 - radius ... -1, by horizontal ones 0 ... radius - 1.
    """
    # 0 … radius - 1, 1 - radius … -1, in the order that the spectrum's rows have.
    rows = torch.fft.fftfreq(2 * radius - 1, d=1 / (2 * radius - 1))
    columns = torch.arange(radius)
    return (rows[:, None].round() ** 2 + columns[None, :] ** 2 >= radius**2).float()


class ObjectAttention(nn.Module):
    """Adds to a logit what the encoder's features show of the object there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dilated = DilatedBlock(channels, channels // 2)
        self.logit = ConvLogit(channels // 2)

    def forward(self, logit: Tensor, features: Tensor) -> Tensor:
        """Raise a (B, 1, H, W) float32 logit by features (B, C, H, W); it never sinks.

        Object (probability s) and background (1 - s) features are summed, the background only where
        its confidence is at most ``DENOISING_RATIO``. As s + (1 - s) = 1, the features pass
        unchanged there and are weighted by s elsewhere.
        """
        foreground = torch.sigmoid(logit)
        # Object features s·f and, where it counts, background (1 - s)·f: together f, else s·f.
        weight = torch.where(1 - foreground > DENOISING_RATIO, foreground, 1.0)
        # Each refinement only adds: what the coarse map found can't be lost again.
        return logit + functional.relu(
            self.logit(self.dilated(features * weight.to(features.dtype)))
        )
