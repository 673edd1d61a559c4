import numpy as np
import pytest

import vlmad_core
from vlmad_core.errors import NotFittedError
from vlmad_core.testing import tiny_backbone


def test_random_maps_are_refused_until_they_are_trained():
    detector = vlmad_core.build("april-gan", backbone=tiny_backbone())
    with pytest.raises(NotFittedError, match=r"learned nothing yet.*train\(\.\.\.\) or `vlmad train`"):
        detector.predict(np.zeros((32, 32, 3), np.uint8), class_name="nut")
