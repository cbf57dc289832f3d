import struct
import warnings

import pytest

from sentiment_train.reports.pictures import Curve, Panel, _drawable, confusion, curves


def size(png):
    """Width and height, from the header."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_panels_stand_side_by_side():
    training, validation = Curve("training", [(1, 0.7), (2, 0.5)]), Curve("validation", [(2, 0.6)])
    panel = Panel("loss", [training, validation])
    width, height = size(curves([panel], kept_step=None))
    two = curves([panel, panel], kept_step=2)
    assert size(two) == (2 * width, height)
    assert two == curves([panel, panel], kept_step=2)  # the same numbers, the same bytes


@pytest.mark.parametrize("classes", [2, 3, 40, 300])
def test_a_matrix_of_any_size_with_any_names(classes):
    names = ["$x_", "好评", "a very long name of a class", *map(str, range(classes))][:classes]
    matrix = [[0.5] * classes for _ in names]
    matrix[0] = [0] * classes  # a class that never occurs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert min(size(confusion(matrix, names))) > 200


def test_a_name_that_the_font_lacks_becomes_a_number():
    assert _drawable("neutral", 1) == "neutral"
    assert _drawable("très négatif", 1) == "très négatif"
    assert _drawable("好评", 1) == "class 1"
    assert _drawable(" ", 2) == "class 2"
    assert _drawable("x" * 30, 0) == "x" * 17 + "…"
