"""Norms folded into the convolutions before them."""

import torch

from TRACER.folding import fold_norms


def test_folding_the_norms_changes_nothing_and_leaves_the_network_alone(golden_network):
    network = golden_network(0, 128)
    images = torch.randn(1, 3, 128, 128)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    folded = fold_norms(network)
    left = [n for n, m in folded.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]

    with torch.inference_mode():
        torch.testing.assert_close(
            folded.predict_saliency(images), network.predict_saliency(images), atol=1e-4, rtol=0
        )
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert len(left) == 3, "the two norms of pooled vectors and that before the union attention"
