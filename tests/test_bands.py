import threading

import pytest

from golfdeblur import bands


@pytest.mark.parametrize("height", [1, 32, 33, 511, 512, 1000])
def test_bands_cover_every_row_once_and_come_in_order(height: int) -> None:
    made = bands.each(lambda top, bottom: list(range(top, bottom)), height)
    assert [row for band in made for row in band] == list(range(height))
    assert all(len(band) == bands.ROWS for band in made[:-1])


def test_only_bands_of_large_pictures_go_to_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands.os, "cpu_count", lambda: 2)
    met = threading.Barrier(2, timeout=10)

    def meet(top: int, bottom: int) -> int:
        met.wait()  # a single thread would wait here alone
        return threading.get_ident()

    assert threading.get_ident() not in bands.each(meet, bands.FEW_ROWS)
    assert set(bands.each(lambda top, bottom: threading.get_ident(), bands.FEW_ROWS - 1)) == {threading.get_ident()}


def test_what_a_band_raises_is_raised() -> None:
    def fail(top: int, bottom: int) -> None:
        if top == bands.ROWS:
            raise MemoryError("no memory for this band")

    with pytest.raises(MemoryError, match="this band"):
        bands.each(fail, bands.FEW_ROWS)
