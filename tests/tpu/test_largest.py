"""The search for the largest batch, with memories that are known."""

import pytest

from sentiment_train.tpu.largest import find_largest

MEMORY = 1_000_000


def linear(rows):
    return 40_000 + 900 * rows


def in_steps(rows):
    """Padded to 128 rows, and worse from 512 on."""
    padded = -(-rows // 128) * 128
    return 40_000 + 700 * padded + 300 * max(padded - 512, 0)


class Asked:
    """Remembers the sizes that were compiled."""

    def __init__(self, needed):
        self.needed, self.sizes = needed, []

    def __call__(self, rows):
        self.sizes.append(rows)
        return self.needed(rows)


def test_an_estimate_compiles_two_sizes_and_says_which():
    asked = Asked(linear)
    found = find_largest(asked, 8, MEMORY, verify=False)
    assert asked.sizes == [8, 32]
    assert not found.compiled
    assert found.by == "from 8 and 32 rows"
    assert found.rows % 8 == 0
    assert 0.95 * MEMORY < linear(found.rows) <= MEMORY


@pytest.mark.parametrize("needed", [linear, in_steps])
@pytest.mark.parametrize("rows", [1, 8, 100, 1000, 100_000])
def test_what_is_verified_was_compiled_and_fits_and_little_more_would(needed, rows):
    asked = Asked(needed)
    found = find_largest(asked, rows, MEMORY, verify=True)
    assert found.compiled
    assert found.rows in asked.sizes
    assert needed(found.rows) <= MEMORY
    assert needed(found.rows + 256) > MEMORY


def test_the_sizes_of_a_line_differ_in_more_than_code():
    flat_at_first = lambda rows: 40_000 if rows < 100 else linear(rows)  # noqa: E731
    asked = Asked(flat_at_first)
    assert find_largest(asked, 8, MEMORY, verify=False).by == "from 8 and 128 rows"


@pytest.mark.parametrize(
    "needed",
    [lambda rows: 2 * MEMORY, lambda rows: None, lambda rows: None if rows > 8 else 1000],
    ids=["one row is too much", "it does not compile", "larger ones do not compile"],
)
def test_nothing_is_said_where_nothing_is_known(needed):
    assert find_largest(needed, 8, MEMORY, verify=True) is None


def test_the_search_ends_where_memory_is_no_limit():
    assert find_largest(lambda rows: 1000, 8, MEMORY, verify=True).rows == 2**20
