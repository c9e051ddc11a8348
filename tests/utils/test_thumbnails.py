import base64

import cv2
import numpy as np

from utils.thumbnails import data_uri, jpeg


def test_a_thumbnail_is_smaller_by_its_longer_side_and_never_enlarged():
    picture = np.full((40, 80, 3), (200, 10, 10), np.uint8)
    for side, shape in ((20, (10, 20)), (None, (40, 80)), (500, (40, 80))):
        decoded = cv2.imdecode(np.frombuffer(jpeg(picture, side), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape[:2] == shape
        assert abs(decoded[0, 0].astype(int) - (10, 10, 200)).max() < 10  # BGR


def test_a_picture_is_its_own_address():
    head, _, data = data_uri(b"abc").partition(",")
    assert head == "data:image/jpeg;base64" and base64.b64decode(data) == b"abc"
