from timm.models import create_model

import model.faceres  # noqa: F401  registers itself with timm


def test_its_layers_are_those_of_timms_mobilenet():
    names = set(create_model("faceres_mobilenetv1", num_classes=0).state_dict())
    assert names == set(create_model("mobilenetv1_100", num_classes=0).state_dict())
