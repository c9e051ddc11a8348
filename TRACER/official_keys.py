"""From the parameter names of the released TRACER checkpoints to the names used here."""

import re
from collections.abc import Iterable

BLOCK_COUNTS = (
    (1, 2, 2, 3, 3, 4, 1),
    (2, 3, 3, 4, 4, 5, 2),
    (2, 3, 3, 4, 4, 5, 2),
    (2, 3, 3, 5, 5, 6, 2),
    (2, 4, 4, 6, 6, 8, 2),
    (3, 5, 5, 7, 7, 9, 3),
    (3, 6, 6, 8, 8, 11, 3),
    (4, 7, 7, 10, 10, 13, 4),
)
"""Blocks of each encoder stage, TE0 ... TE7. The released files number the blocks through."""

UNUSED = tuple(
    f"model.Frequency_Edge_Module1.UAM.bn.{name}"
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
)
"""What the released files hold and the network never reads: a norm that the edge module's channel
attention was built with but does not have in its computation."""

_FIRST_STAGE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^model\._conv_stem\.", "encoder.conv_stem."),
        (r"^model\._bn0\.", "encoder.bn1."),
        # In order: later patterns see what earlier ones have renamed.
        (r"^model\.Frequency_Edge_Module1\.UAM\.", "encoder.edge.channels."),
        (r"^model\.Frequency_Edge_Module1\.", "encoder.edge."),
        (r"^rfb2\.", "fine."),
        (r"^rfb3\.", "middle."),
        (r"^rfb4\.", "coarse."),
        (r"^(fine|middle|coarse)\.branch0\.0\.", r"\1.branches.0."),
        (r"^(fine|middle|coarse)\.branch(\d)\.", r"\1.branches.\2."),
        (r"\.conv_cat\.", ".join."),
        (r"\.conv_res\.", ".shortcut."),
        (r"^agg\.UAM\.(norm\.0|channel_.|fc)\.", r"aggregation.attention.channels.\1."),
        (r"^agg\.UAM\.bn\.", "aggregation.attention.norm."),
        (r"^agg\.UAM\.", "aggregation.attention."),
        (r"^agg\.conv_upsample1\.", "aggregation.coarse_gates_middle."),
        (r"^agg\.conv_upsample2\.", "aggregation.coarse_gates_fine."),
        (r"^agg\.conv_upsample3\.", "aggregation.middle_gates_fine."),
        (r"^agg\.conv_upsample4\.", "aggregation.lift_coarse."),
        (r"^agg\.conv_upsample5\.", "aggregation.lift_middle."),
        (r"^agg\.conv_concat2\.", "aggregation.join_middle."),
        (r"^agg\.conv_concat3\.", "aggregation.join_fine."),
        (r"^ObjectAttention([12])\.conv1\.", r"object\1.logit."),
        (r"^ObjectAttention([12])\.", r"object\1."),
        (r"^encoder\.edge\.conv\.", "encoder.edge.logit."),
        (r"\.norm\.0\.", ".norm."),
        (r"\.(channel|spatial)_q\.", ".query."),
        (r"\.(channel|spatial)_k\.", ".key."),
        (r"\.(channel|spatial)_v\.", ".value."),
        (r"\.channels\.fc\.", ".channels.project."),
        (r"\.DWSConv\.DWConv\.", ".dilated.separable.0.conv."),
        (r"\.DWSConv\.bn\.", ".dilated.separable.0.bn."),
        (r"\.DWSConv\.PWConv\.", ".dilated.separable.1.conv."),
        (r"\.DWSConv\.bn2\.", ".dilated.separable.1.bn."),
        (r"\.DWConv([1-4])\.(\d)\.", lambda m: f".dilated.branches.{int(m[1]) - 1}.{m[2]}."),
        (r"\.0\.DWConv\.", ".0.conv."),
    )
)


def translate(key: str, scale: int) -> str:
    """The name of a released parameter (without ``module.``, and not in ``UNUSED``) in
    ``Tracer(scale).state_dict()``.
    """
    block = re.match(r"model\._blocks\.(\d+)\.(\w+)\.(.+)", key)
    if block:
        return _block_name(int(block[1]), block[2], block[3], scale)
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    return key


def _block_name(index: int, layer: str, rest: str, scale: int) -> str:
    stage = 0
    # The running number of a block → its stage and its place in there.
    while stage < 6 and index >= BLOCK_COUNTS[scale][stage]:
        index -= BLOCK_COUNTS[scale][stage]
        stage += 1
    names = _FIRST_STAGE if stage == 0 else _OTHER_STAGES
    return f"encoder.blocks.{stage}.{index}.{names.get(layer, layer)}.{rest}"


def looks_official(keys: Iterable[str]) -> bool:
    """Whether a state dict's names are those of the released files."""
    return any(key.removeprefix("module.").startswith("model._blocks.") for key in keys)
