"""Nothing is sent, looked up or left behind: every system call of the commands, in a home that is fresh."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import golfdeblur

from .conftest import GUARD_S

SOURCE = Path(golfdeblur.__file__).parent
REPOSITORY = SOURCE.parents[1]
CALLS_HOME = {"onnxruntime", "openvino", "openvino_telemetry"}
"""What nobody imports but offline.py."""

CALLS = "network,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod,mknodat"
WRITES = re.compile(
    r'(?:openat|open)\(([^,"]*),? ?"([^"]*)", [^)]*(?:O_CREAT|O_WRONLY|O_RDWR).*\) = \d|creat\(()"([^"]+)"'
)
MAKES = re.compile(
    r'(?:mkdir|mkdirat|rename|renameat2?|link|linkat|symlink|symlinkat|mknod|mknodat)\(.*"([^"]*)".*\) = 0'
)
LOOKS_UP = re.compile(r"/etc/(resolv\.conf|hosts)")
SENDS = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg|bind)\(.*AF_INET")

RECIPE = """
model = "tiny"
steps = 2
lr = 1e-6
log_every = 1
validate_every = 2
warmup_steps = 1
precision = "float32"
mixture = {batch = 2, patch_px = 32, block_px = 48, block_pairs = 4, steps_per_block = 2, blocks_kept = 2}
blur = {length_px = [2, 6], centre_px = 20}
sources = [{name = "photos", kind = "photos"}]
"""


@pytest.mark.parametrize("folder", ["src", "tests", "docs", "research"])
def test_the_libraries_that_call_home_are_imported_through_one_door(folder: str) -> None:
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        if path == SOURCE / "offline.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            found = CALLS_HOME & {name.split(".")[0] for name in names}
            assert not found, f"{path}:{node.lineno} imports {found}; ask golfdeblur.offline for it"


def test_the_page_may_fetch_nothing_but_its_own_files() -> None:
    page = (REPOSITORY / "web" / "src" / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "connect-src 'self';" in policy[1]
    assert not re.search(r"https?:|\*", policy[1])


@pytest.fixture(scope="module")
def strace() -> str:
    """Return the program, or skip; where GOLF_TESTS_NEED names it, as in .ci/run, its absence is a failure."""
    found = shutil.which("strace")
    if found is not None and subprocess.run([found, "-f", "true"], capture_output=True, check=False).returncode == 0:
        return found
    if "strace" in os.environ.get("GOLF_TESTS_NEED", ""):
        pytest.fail("strace is missing or may not trace here; install it: without it nobody sees whether packets go.")
    pytest.skip("strace is missing or may not trace here: NOT TESTED whether anything is sent.")


@pytest.fixture
def watched(strace: str, tmp_path: Path) -> "Watched":
    return Watched(strace, tmp_path)


class Watched:
    """A place of its own in which commands run, every one of their system calls noted."""

    def __init__(self, strace: str, place: Path) -> None:
        self.strace = strace
        self.home, self.temporary, self.work, self.log = (place / x for x in ("home", "tmp", "work", "log"))
        for folder in (self.home, self.temporary, self.work):
            folder.mkdir()

    def start(self, *command: object) -> subprocess.Popen:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")}
        env = {**kept, "HOME": str(self.home), "TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        env["PYTHONPATH"] = str(SOURCE.parent)
        line = [self.strace, "-f", "-qq", "-y", "--seccomp-bpf", "-s", "400", "-e", f"trace={CALLS}", "-o", self.log]
        return subprocess.Popen(
            [*map(str, [*line, sys.executable, *command])], cwd=self.work, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *command: object) -> None:
        self.end(self.start(*command))

    def end(self, process: subprocess.Popen) -> None:
        out, err = process.communicate(timeout=GUARD_S)
        assert process.returncode == 0, out + err
        self.check()

    def golf(self, *arguments: object) -> None:
        self.run("-m", "golfdeblur", *arguments)

    def check(self, *, allowed: str = "(?!)") -> None:
        """Fail for a packet, a look-up, or a file elsewhere than in the folder of work; temporary ones are gone."""
        for line in self.log.read_text(errors="replace").splitlines():
            assert not LOOKS_UP.search(line), line
            assert not SENDS.search(line) or re.search(allowed, line), line
            if (made := WRITES.search(line)) is not None:
                self._check_place(made[2] or made[4] or "", line)
            elif (made := MAKES.search(line)) is not None:
                self._check_place(made[1], line)
        assert list(self.home.iterdir()) == []
        # torch makes an empty folder for what it might compile.
        assert [p for p in self.temporary.rglob("*") if not p.name.startswith("torchinductor_")] == []

    def _check_place(self, path: str, line: str) -> None:
        place = os.path.normpath(self.work / path)
        allowed = (str(self.work), str(self.temporary), "/dev/", "/proc/self/", f"/proc/{os.getpid()}")
        if not place.startswith(allowed):
            assert re.match(r"/dev/|/proc/\d+/", place), f"written elsewhere: {line}"


@pytest.fixture(scope="module", autouse=True)
def waiting(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> tuple[Watched, subprocess.Popen] | None:
    """A process that waits for what onnxruntime would do after ten seconds, while the other tests run."""
    if (strace := shutil.which("strace")) is None:
        return None
    watched = Watched(strace, tmp_path_factory.mktemp("waiting"))
    Image.fromarray(photo).save(watched.work / "photo.jpg")
    code = "import golfdeblur, time; golfdeblur.load().deblur('photo.jpg'); time.sleep(12)"
    return watched, watched.start("-c", code)


@pytest.fixture
def picture(watched: Watched, photo: np.ndarray) -> Path:
    Image.fromarray(photo).save(watched.work / "photo.jpg")
    return watched.work / "photo.jpg"


@pytest.fixture
def pairs(watched: Watched, photo: np.ndarray) -> Path:
    for kind in ("blur", "sharp"):
        (watched.work / "pairs" / kind).mkdir(parents=True)
        Image.fromarray(photo).save(watched.work / "pairs" / kind / "a.png")
    return watched.work / "pairs"


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime-int8", "openvino", "torch"])
def test_deblur(watched: Watched, picture: Path, runtime: str) -> None:
    if runtime in ("openvino", "torch"):
        pytest.importorskip("torch" if runtime == "torch" else "onnx")  # the extra `dev` has both
    watched.golf("deblur", picture, "-o", "sharp.jpg", "--runtime", runtime)
    assert (watched.work / "sharp.jpg").exists()


def test_a_folder(watched: Watched, picture: Path) -> None:
    watched.golf("deblur", watched.work, "-r", "--out-dir", "sharp")
    watched.golf("deblur", picture, "-o", "strokes.jpg", "--strokes")


def test_what_measures(watched: Watched, pairs: Path) -> None:
    watched.golf("info")
    watched.golf("evaluate", pairs, "--json", "scores.json")
    watched.golf("table", "scores.json")
    watched.golf("bench", "--size", "64x64", "--repeats", "1", "--plot", "time.png")


def test_video(watched: Watched, photo: np.ndarray) -> None:
    av = pytest.importorskip("av")
    with av.open(str(watched.work / "clip.mp4"), "w") as made:
        stream = made.add_stream("libx264", rate=25)
        stream.width, stream.height = 128, 90
        for _ in range(3):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(photo[:, :128].copy(), format="rgb24")))
        made.mux(stream.encode(None))
    watched.golf("video", "clip.mp4", "-o", "sharp.mp4")


def test_training_and_export(watched: Watched, photo: np.ndarray) -> None:
    pytest.importorskip("torch")
    (watched.work / "photos").mkdir()
    for name in ("a", "b"):
        Image.fromarray(photo).resize((390, 360)).save(watched.work / "photos" / f"{name}.png")
    (watched.work / "recipe.toml").write_text(RECIPE)
    watched.golf("train", "recipe.toml", "--data", "photos=photos", "--out", "run")
    watched.golf("export", "run", "-o", "model")
    watched.golf("data", "pairs-from-photos", "photos", "-n", "1", "--size", "64", "--out", "pairs")


@pytest.mark.slow
def test_an_experiment(watched: Watched, pairs: Path) -> None:
    pytest.importorskip("torch")
    watched.golf("experiment", "convergence", "--quick", "--data", pairs, "--out", "report")


def test_the_pages_server_listens_on_this_computer_alone(watched: Watched) -> None:
    (watched.work / "page").mkdir()
    (watched.work / "page" / "index.html").write_text("a page")
    server = watched.start("-u", "-m", "golfdeblur", "web", "--folder", "page", "--port", "0", "--no-browser")
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        assert urlopen(address).read() == b"a page"
    finally:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), 2)
        server.wait(GUARD_S)
    watched.check(allowed=r"(bind|sendto|sendmsg)\(.*127\.0\.0\.1|sendto\(\d+<TCP:\[127\.0\.0\.1")


LEAKS = [
    "import onnxruntime",
    "import os; open('/tmp/golf-leak', 'w'); os.remove('/tmp/golf-leak')",
    "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "import socket; socket.getfqdn('127.0.0.1')",
]


@pytest.mark.parametrize("leak", LEAKS)
def test_the_watch_sees_what_it_should(watched: Watched, leak: str) -> None:
    with pytest.raises(AssertionError):
        watched.run("-c", leak)


def test_the_library_for_longer_than_the_reporters_wait(watched: Watched, waiting: Any) -> None:
    place, process = waiting
    place.end(process)
