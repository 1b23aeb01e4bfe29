import pytest

from golfdeblur import bands


@pytest.mark.parametrize("size", [(1, 1), (1, 10**6), (7, 10**6), (256, 256), (511, 1000), (719, 1281), (1000, 4000)])
def test_bands_cover_every_row_once_and_come_in_order(size: tuple[int, int]) -> None:
    made = bands.cut(*size)
    assert [row for top, bottom in made for row in range(top, bottom)] == list(range(size[0]))
    assert all(top % 2 == 0 for top, _ in made)
    assert all((bottom - top) * size[1] <= max(bands.PIXELS, 2 * size[1]) for top, bottom in made)
