import os
from pathlib import Path

import pytest

from golfdeblur.files import atomic


def test_what_the_block_wrote_takes_the_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)  # with anything added to it, longer than a file's name may be
    path.write_text("before")
    before = os.umask(0o027)
    try:
        with atomic.replacing(path) as file:
            file.write(b"after")
            assert path.read_text() == "before"
    finally:
        os.umask(before)
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o640  # as any new file of this user
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["block", "fsync", "replace"])
def test_whatever_stops_it_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    def stop(*_: object) -> None:
        raise error

    def write() -> None:
        with atomic.replacing(path) as file:
            file.write(b"half")
            if place == "block":
                stop()

    path = tmp_path / "precious.json"
    path.write_text("before")
    if place != "block":
        monkeypatch.setattr(os, place, stop)
    with pytest.raises(type(error)):
        write()
    monkeypatch.undo()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be removed there")
def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "photo[1].jpg"
    left = path.with_name(".photo[1].jpg.0123abcd.part")
    left.write_bytes(b"half")
    with atomic.replacing(path) as other:
        assert not left.exists()
        other.write(b"other")
        atomic.write(path, b"mine")
    assert path.read_bytes() == b"other"
    assert list(tmp_path.iterdir()) == [path]
