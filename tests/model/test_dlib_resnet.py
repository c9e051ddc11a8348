import timm
from timm.optim import param_groups_layer_decay

import model.dlib_resnet  # noqa: F401  registers itself with timm


def test_layers_are_counted_from_the_stem_up():
    network = timm.create_model("dlib_resnet29")
    groups = param_groups_layer_decay(network, layer_decay=0.5)
    rates = {id(w): group["lr_scale"] for group in groups for w in group["params"]}
    stem, first, last = (
        rates[id(module.weight)]
        for module in (network.stem, network.blocks[0].conv1, network.blocks[-1].conv2)
    )
    assert stem < first < last
