import threading

import pytest

from golfdeblur.engine import bands

LARGE = 1000, 4000
"""Height and width of a picture of many bands."""


@pytest.mark.parametrize("size", [(1, 1), (1, 10**6), (7, 10**6), (256, 256), (511, 1000), (719, 1281), LARGE])
def test_bands_cover_every_row_once_and_come_in_order(size: tuple[int, int]) -> None:
    made = bands.each(lambda top, bottom: (top, list(range(top, bottom))), *size)
    assert [row for _, band in made for row in band] == list(range(size[0]))
    assert all(top % 2 == 0 for top, _ in made)
    assert all(len(band) * size[1] <= max(bands.PIXELS, 2 * size[1]) for _, band in made)


def test_only_bands_of_large_pictures_go_to_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands.os, "cpu_count", lambda: 2)
    met = threading.Barrier(2, timeout=10)

    def meet(top: int, bottom: int) -> int:
        met.wait()  # a single thread would wait here alone
        return threading.get_ident()

    assert len(bands.cut(*LARGE)) % 2 == 0
    assert threading.get_ident() not in bands.each(meet, *LARGE)
    assert set(bands.each(lambda top, bottom: threading.get_ident(), 512, 1024)) == {threading.get_ident()}


def test_what_a_band_raises_is_raised() -> None:
    def fail(top: int, bottom: int) -> None:
        if top:
            raise MemoryError("no memory for this band")

    with pytest.raises(MemoryError, match="this band"):
        bands.each(fail, *LARGE)
