import dataclasses
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from golfdeblur.cli import train as cli_train
from golfdeblur.errors import ConfigError, GolfError, Interrupted
from golfdeblur.learning import checkpoint, networks, precision
from golfdeblur.learning.blur import BlurConfig
from golfdeblur.learning.export import find_networks
from golfdeblur.learning.mixture import Mixture, MixtureConfig
from golfdeblur.learning.objective import Inputs, build_objective, compile_objective
from golfdeblur.learning.perceptual import VGG19
from golfdeblur.learning.recipe import Recipe
from golfdeblur.learning.run import Run, read_log
from golfdeblur.learning.sources import SourceConfig
from golfdeblur.learning.train import train
from golfdeblur.weights import EMBEDDED

from .conftest import GUARD_S
from .test_cli import fails, golf, here, refused

TINY = Recipe(
    model="tiny",
    steps=6,
    log_every=3,
    validate_every=3,
    warmup_steps=1,
    precision="float32",
    mixture=MixtureConfig(batch=2, patch_px=32, block_px=48, block_pairs=4, steps_per_block=2, blocks_kept=2),
    blur=BlurConfig(length_px=(2, 6), centre_px=20),
    sources=(SourceConfig("photos", "photos"),),
)

RECIPE = """
model = "tiny"
steps = {steps}
log_every = 5
validate_every = 20
warmup_steps = 1
precision = "float32"
checkpoint_minutes = 0.002
[mixture]
batch = 4
patch_px = 32
block_px = 48
block_pairs = 8
steps_per_block = 4
streams = 2
[blur]
length_px = [2, 6]
centre_px = 20
[[sources]]
name = 'photos'
kind = 'photos'
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (120, 130, 3), np.uint8)
        Image.fromarray(pixels).resize((390, 360)).save(folder / f"{i}.png")
    return {"photos": folder}


@pytest.fixture
def inputs(photos: dict[str, Path]) -> Inputs:
    return Inputs(photos)


def weights(path: Path | None) -> dict[str, torch.Tensor]:
    assert path is not None
    return checkpoint.load_network(path)[0].state_dict()


def same(a: Path | None, b: Path | None) -> bool:
    left, right = weights(a), weights(b)
    return all(torch.equal(left[k], right[k]) for k in left)


def test_f_then_g(tmp_path: Path, photos: dict[str, Path]) -> None:
    rows: list[dict] = []
    f = train(TINY, Inputs(photos), tmp_path / "f", report=rows.append)
    assert [row["step"] for row in rows] == [3, 3, 6, 6]  # loss, validation, loss, validation
    assert len(rows[1]["psnr_db"]["photos"]) == 2  # the blurry image and x0
    config = dataclasses.replace(TINY, stage="g", iterates=2)
    g = train(config, Inputs(photos, propagator=f), tmp_path / "g", report=rows.append)
    assert g is not None
    assert len(rows[-1]["psnr_db"]["photos"]) == 4  # y, x0, x1, x2
    network, history = checkpoint.load_network(g)
    assert f is not None
    assert history["propagator_sha256"] == checkpoint.network_hash(checkpoint.load_network(f)[0])
    assert network.spec == networks.PRESETS["tiny"].g
    assert read_log(tmp_path / "g") == rows[4:]
    best, _ = find_networks([tmp_path / "g" / "best"])
    assert same(best, f)
    assert same(tmp_path / "g" / "F.safetensors", f)  # the folder holds the whole model
    sheets = sorted((tmp_path / "g" / "sheets").iterdir())
    assert [s.name for s in sheets] == ["step-0000003.png", "step-0000006.png"]
    assert Image.open(sheets[0]).width == 5 * 160  # input, x0, x1, x2, sharp


def test_an_interrupted_run_ends_like_an_unbroken_one(tmp_path: Path, inputs: Inputs) -> None:
    whole = train(TINY, inputs, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(row: dict) -> None:
        raise Stop

    config = dataclasses.replace(TINY, checkpoint_minutes=0)
    with pytest.raises(Stop):
        train(config, inputs, tmp_path / "broken", report=stop)
    (tmp_path / "broken" / ".next.pt.0123abcd.part").write_bytes(b"half a state")  # as a kill while saving leaves it
    assert same(whole, train(config, inputs, tmp_path / "broken"))
    assert not list((tmp_path / "broken").glob(".*"))

    def without_times(folder: Path) -> list[dict]:
        return [
            {k: v for k, v in row.items() if k not in {"minutes", "mpx_per_s", "waiting"}} for row in read_log(folder)
        ]

    assert without_times(tmp_path / "broken") == without_times(tmp_path / "whole")


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_signal_ends_the_step_and_keeps_it(tmp_path: Path, inputs: Inputs, optimiser: str) -> None:
    config = dataclasses.replace(TINY, optimiser=optimiser)
    whole = train(config, inputs, tmp_path / "whole")

    def interrupt(row: dict) -> None:
        if row["step"] == 3 and "loss" in row:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"step [34] of 6"):
        train(config, inputs, tmp_path / "broken", report=interrupt)
    said: list[str] = []
    f, _ = find_networks([tmp_path / "broken"], notice=said.append)
    assert checkpoint.load_network(f)[1]["steps"] in (3, 4)
    assert re.fullmatch(r"The run stopped at step [34] of 6; F is the average up to there\.", *said)
    assert same(whole, train(config, inputs, tmp_path / "broken"))


def test_a_damaged_state_falls_back_on_the_one_before(tmp_path: Path, inputs: Inputs) -> None:
    config = dataclasses.replace(TINY, checkpoint_minutes=0)
    final = weights(train(config, inputs, tmp_path))
    last = tmp_path / "last.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1  # one bit, somewhere in the weights
    last.write_bytes(content)
    rows: list[dict] = []
    again = weights(train(config, inputs, tmp_path, report=rows.append))
    assert "damaged" in rows[0]["notice"]
    assert all(torch.equal(final[k], again[k]) for k in final)


@pytest.mark.parametrize(("validate_every", "lost"), [(3, "network"), (100, "state of step")])
def test_a_full_disk_loses_nothing(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, validate_every: int, lost: str
) -> None:
    config = dataclasses.replace(TINY, checkpoint_minutes=0, validate_every=validate_every)
    whole = train(config, inputs, tmp_path / "whole")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    def fill(row: dict) -> None:
        monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(GolfError, match=f"{lost}.*No space left"):
        train(config, inputs, tmp_path / "full", report=fill)
    assert not list((tmp_path / "full").glob("*.part"))
    monkeypatch.undo()
    assert same(whole, train(config, inputs, tmp_path / "full"))


def test_a_contact_sheet_that_has_no_room_loses_nothing(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(TINY, inputs, tmp_path / "whole")

    def full(self: Image.Image, file: BinaryIO, kind: str) -> None:
        file.write(b"half a picture")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(GolfError, match=r"sheets.*No space left.*same command"):
        train(TINY, inputs, tmp_path / "full")
    assert not list((tmp_path / "full" / "sheets").iterdir())
    monkeypatch.undo()
    assert same(whole, train(TINY, inputs, tmp_path / "full"))


def test_not_a_number_stops_the_run(tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mixture.batch

    def poisoned(self: Mixture, step: int) -> object:
        batch = made(self, step)
        if step == 4:
            batch.blurry[0, 0, 0, 0] = torch.nan
        return batch

    monkeypatch.setattr(Mixture, "batch", poisoned)
    config = dataclasses.replace(TINY, checkpoint_minutes=0)
    with pytest.raises(GolfError, match=r"nan at step 5 on .*\.png.*last good state is .*last\.pt"):
        train(config, inputs, tmp_path)
    state = Run(tmp_path, config, origin={}).load_state(print)
    assert state is not None
    assert state["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_divergence_stops_the_run(tmp_path: Path, inputs: Inputs) -> None:
    config = dataclasses.replace(TINY, lr=1e3, clip_norm=0, steps=60)
    with pytest.raises(GolfError, match=r"times its lowest value|became"):
        train(config, inputs, tmp_path)


def test_another_recipe_does_not_resume(tmp_path: Path, inputs: Inputs) -> None:
    train(dataclasses.replace(TINY, steps=1), inputs, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings: mixture.batch was 2, now 4; steps was 1, now 2\. "):
        train(dataclasses.replace(TINY, steps=2, mixture=dataclasses.replace(TINY.mixture, batch=4)), inputs, tmp_path)


def test_a_run_keeps_the_precision_it_began_in(tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(speed_of_bf16: float, minutes: float = math.inf) -> list[str]:
        monkeypatch.setattr(precision, "gain", lambda device: speed_of_bf16)
        rows: list[dict] = []
        train(config, inputs, tmp_path, max_minutes=minutes, report=rows.append)
        return [row["notice"] for row in rows if "notice" in row]

    config = dataclasses.replace(TINY, steps=3, precision="auto")
    assert run(0.1, 0)[0].startswith("Precision: float32 (")
    assert run(1.5, 0)[0].startswith("Precision: float32, as this run began")
    assert "bf16 from here on, float32 before" in run(4.0)[0]
    assert checkpoint.load_network(tmp_path / "F.safetensors")[1]["precision"] == "bf16"


def test_every_step_is_told_with_the_time_left(tmp_path: Path, inputs: Inputs) -> None:
    seen: list[tuple[int, float]] = []
    train(TINY, inputs, tmp_path, progress=lambda *step: seen.append(step))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert all(left > 0 for _, left in seen[:-1])
    assert seen[-1][1] == 0


def test_fine_tuning_starts_from_given_weights(tmp_path: Path, photos: dict[str, Path]) -> None:
    first = train(TINY, Inputs(photos), tmp_path / "a")
    config = dataclasses.replace(TINY, steps=1, lr=1e-12, lr_end=1e-12, weight_decay=0)
    second = train(config, Inputs(photos, initial=first), tmp_path / "b")
    for name, value in weights(first).items():
        assert torch.allclose(value, weights(second)[name], atol=1e-6)
    third = train(config, Inputs(photos, initial=second), tmp_path / "c")
    steps = [(run["sha256"], run["steps"]) for run in checkpoint.load_network(third)[1]["before"]]
    hashes = [checkpoint.network_hash(checkpoint.load_network(path)[0]) for path in (second, first)]
    assert steps == [(hashes[0], 1), (hashes[1], TINY.steps)]
    other = Inputs(photos, initial=first, propagator=first)
    with pytest.raises(ConfigError, match="another network"):
        train(dataclasses.replace(TINY, stage="g"), other, tmp_path / "d")


def test_runs_of_several_lineages_are_kept_once() -> None:
    common, unhashed = {"sha256": "a", "steps": 1}, {"widened": True}
    one, other = {"sha256": "b", "steps": 2}, {"sha256": "c", "steps": 2}
    assert checkpoint.distinct([one, common, unhashed], [other, common, unhashed]) == [one, common, unhashed, other]


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_training_lowers_the_loss(tmp_path: Path, inputs: Inputs, optimiser: str) -> None:
    few = dataclasses.replace(TINY.mixture, block_pairs=8, steps_per_block=60)  # so few pairs are learnt in 60 steps
    config = dataclasses.replace(
        TINY, steps=60, validate_every=60, log_every=20, lr=2e-3, optimiser=optimiser, mixture=few
    )
    train(config, inputs, tmp_path / "learns")
    rows = read_log(tmp_path / "learns")
    blurry, x0 = rows[-1]["psnr_db"]["photos"]
    assert x0 > blurry
    assert rows[-2]["loss"] < rows[0]["loss"]
    # Some patches are harder than others: a run that hardly moves sees the same ones.
    train(dataclasses.replace(config, lr=config.lr_end), inputs, tmp_path / "stays")
    assert rows[-2]["loss"] < 0.97 * read_log(tmp_path / "stays")[-2]["loss"]


def test_max_minutes_ends_with_a_checkpoint(tmp_path: Path, inputs: Inputs) -> None:
    rows: list[dict] = []
    assert train(TINY, inputs, tmp_path, max_minutes=0, report=rows.append) is None
    assert "step 1 of 6" in rows[-1]["notice"]
    assert train(TINY, inputs, tmp_path) == tmp_path / "F.safetensors"


def test_where_nothing_is_validated_no_weights_are_the_best(tmp_path: Path, photos: dict[str, Path]) -> None:
    config = dataclasses.replace(TINY, sources=(SourceConfig("photos", "sharp-of-pairs"),))
    folder = tmp_path / "pairs"
    for side in ("blur", "sharp"):
        shutil.copytree(photos["photos"], folder / side)
    rows: list[dict] = []
    trained = train(config, Inputs({"photos": folder}), tmp_path / "run", report=rows.append)
    assert trained is not None
    assert [row["step"] for row in rows if "loss" in row] == [3, 6]
    assert not [row for row in rows if "psnr_db" in row]
    assert {path.name for path in (tmp_path / "run").iterdir()}.isdisjoint({"best", "sheets"})


def test_data_must_match_the_recipe(tmp_path: Path, photos: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="needs data for photos"):
        train(TINY, Inputs({}), tmp_path)
    with pytest.raises(ConfigError, match=r"add one \[\[sources\]\]"):
        train(dataclasses.replace(TINY, sources=()), Inputs(photos), tmp_path)
    with pytest.raises(ConfigError, match="cats is not in the recipe"):
        train(TINY, Inputs({**photos, "cats": tmp_path}), tmp_path)
    with pytest.raises(ConfigError, match="--propagator"):
        train(dataclasses.replace(TINY, stage="g"), Inputs(photos), tmp_path)
    with pytest.raises(ConfigError, match="--features"):
        train(dataclasses.replace(TINY, perceptual="vgg19"), Inputs(photos), tmp_path)
    with pytest.raises(ConfigError, match="--features is for a perceptual loss"):
        train(TINY, Inputs(photos, features=tmp_path), tmp_path)
    with pytest.raises(ConfigError, match="'photos' is what the held-out photographs are called"):
        train(TINY, Inputs(photos, validation=photos), tmp_path)


def test_a_propagator_must_be_one_and_be_needed(tmp_path: Path, photos: dict[str, Path]) -> None:
    g = EMBEDDED / "fast" / "G.onnx"
    fast = dataclasses.replace(TINY, model="fast")
    with pytest.raises(ConfigError, match="--propagator is for a G behind it"):
        train(fast, Inputs(photos, propagator=g), tmp_path)
    behind = dataclasses.replace(fast, stage="g")
    with pytest.raises(ConfigError, match="is a corrector G"):
        train(behind, Inputs(photos, propagator=g), tmp_path)
    with pytest.raises(ConfigError, match="needs a trained propagator"):
        train(behind, Inputs(photos), tmp_path)


def test_the_perceptual_loss_trains_with_a_measured_balance(tmp_path: Path, photos: dict[str, Path]) -> None:
    features = tmp_path / "vgg19.safetensors"
    save_file({k.removeprefix("layers."): v for k, v in VGG19().state_dict().items()}, features)
    config = dataclasses.replace(TINY, content="mse", perceptual="vgg19")
    rows: list[dict] = []
    path = train(config, Inputs(photos, features=features), tmp_path / "run", report=rows.append)
    assert "weight" in rows[0]["notice"]
    terms = next(row["terms"] for row in rows if "terms" in row)
    assert terms["perceptual"] == pytest.approx(terms["content"], rel=0.7)
    assert path is not None
    history = checkpoint.load_network(path)[1]
    assert f"{history['balance']:.4g}" in rows[0]["notice"]


def test_the_speed_leaves_the_validation_out(tmp_path: Path, inputs: Inputs) -> None:
    train(dataclasses.replace(TINY, log_every=4, validate_every=3, steps=8), inputs, tmp_path)
    rows = [row for row in read_log(tmp_path) if "waiting" in row]
    assert [row["step"] for row in rows] == [4, 8]
    assert all(0 < row["waiting"] < 1 for row in rows)


@pytest.mark.parametrize(
    ("device", "processes", "mode"), [("cuda", 1, "reduce-overhead"), ("cuda", 2, "default"), ("cpu", 1, "default")]
)
def test_only_one_process_with_a_card_replays_graphs(
    monkeypatch: pytest.MonkeyPatch, device: str, processes: int, mode: str
) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, *, mode: mode)
    objective, _ = build_objective(TINY, Inputs({}))
    assert compile_objective(objective, torch.device(device), processes=processes) == mode


@pytest.mark.slow
def test_a_compiled_run_gives_the_same_loss(tmp_path: Path, inputs: Inputs) -> None:
    for compiled in (False, True):
        train(dataclasses.replace(TINY, compiled=compiled), inputs, tmp_path / str(compiled))
    plain, fast = ([row["loss"] for row in read_log(tmp_path / str(c)) if "loss" in row] for c in (False, True))
    assert fast == pytest.approx(plain, abs=1e-4)


@pytest.mark.slow
def test_a_compiled_run_resumes_bit_for_bit(tmp_path: Path, inputs: Inputs) -> None:
    config = dataclasses.replace(TINY, compiled=True)
    whole = train(config, inputs, tmp_path / "whole")
    assert train(config, inputs, tmp_path / "parts", max_minutes=1e-6) is None
    parts = train(config, inputs, tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    one, two = (checkpoint.load_network(path)[0].state_dict() for path in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_compiling_without_a_compiler_gets_one_sentence(tmp_path: Path, photos: dict[str, Path]) -> None:
    arguments = command(tmp_path, photos, tmp_path / "run")[1:]
    cache = str(tmp_path / "cache")
    result = golf(*arguments, "--set", "compiled=true", env={"CXX": "/nowhere", "TORCHINDUCTOR_CACHE_DIR": cache})
    assert result.returncode == 1
    assert "needs a C++ compiler" in result.stderr
    assert "Traceback" not in result.stderr


def command(folder: Path, photos: dict[str, Path], out: Path, *, steps: int = 40) -> list[str]:
    recipe = folder / f"tiny-{steps}.toml"
    if not recipe.exists():
        recipe.write_text(RECIPE.format(steps=steps))
    return ["golfdeblur", "train", str(recipe), "--data", f"photos={photos['photos']}", "--out", str(out)]


def test_the_command_trains_and_explains(tmp_path: Path, photos: dict[str, Path]) -> None:
    arguments = command(tmp_path, photos, tmp_path / "run")[1:]
    result = golf(*arguments, "--set", "steps=10", "--set", "log_every=10")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"Starting torch and reading {arguments[1]}."
    assert lines[1] == "10 steps for stage f of model tiny. Reading the data."
    rows = [line for line in lines[2:] if " left" not in line]  # that comes where it is slow
    assert rows[0].startswith("step 10  ")
    assert "PSNR in dB of input, x0" in rows[1]
    assert lines[-1] == f"Trained: {tmp_path / 'run' / 'F.safetensors'}"
    recipe = arguments[1]
    fails(here("train", recipe, "--data", "photos", "--out", tmp_path / "x"), "NAME=PATH")
    assert "/none, given for photos, does not exist" in refused(
        "train", recipe, "--data", "photos=/none", "--out", tmp_path / "x"
    )
    assert "steps" in refused(*arguments, "--set", "stpes=3")
    assert "given twice" in refused(*arguments, "--data", f"photos={photos['photos']}")
    plot = tmp_path / "curves.png"
    assert here("train", "plot", tmp_path / "run", "-o", plot).returncode == 0
    assert Image.open(plot).width > 1000
    assert "--force" in refused("train", "plot", tmp_path / "run", "-o", plot)
    assert "no log.jsonl" in refused("train", "plot", tmp_path, "-o", tmp_path / "p.png")


def test_a_silent_run_says_where_it_is(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lines = cli_train._Lines(500)
    for now, left in ((1.0, 99), (4.0, 81), (5.0, 80), (9.0, 79), (11.0, 7200)):
        lines.progress(int(now), left)
    assert capsys.readouterr().out.splitlines() == [
        "step 4 of 500, about 81 s left",
        "step 11 of 500, about 2.0 h left",
    ]


def test_tensorboard_gets_every_loss_and_score(tmp_path: Path, photos: dict[str, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = here(*command(tmp_path, photos, tmp_path / "run", steps=20)[1:], "--tensorboard")
    assert result.returncode == 0, result.stderr
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "loss/content", "lr", "psnr_db/photos/x0"}
    rows = [row for row in read_log(tmp_path / "run") if "loss" in row]
    logged = [(event.step, event.value) for event in events.Scalars("loss")]
    assert logged == [(row["step"], pytest.approx(row["loss"], rel=1e-6)) for row in rows]


def killed_at_random(tmp_path: Path, photos: dict[str, Path], times: int) -> None:
    whole = tmp_path / "whole"
    assert here(*command(tmp_path, photos, whole)[1:]).returncode == 0
    rng = random.Random(0)
    for attempt in range(times):
        broken, kills = tmp_path / f"broken-{attempt}", 0
        while True:
            process = subprocess.Popen(
                [sys.executable, "-m", *command(tmp_path, photos, broken)], stdout=subprocess.DEVNULL
            )
            log = broken / "config.json"
            while process.poll() is None and not log.exists():
                time.sleep(0.01)
            if kills == 2:
                assert process.wait(GUARD_S) == 0
                break
            time.sleep(rng.uniform(0, 1.5))  # from before the first checkpoint to after the last
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert same(whole / "F.safetensors", broken / "F.safetensors"), f"attempt {attempt}"


def test_killed_twice_it_ends_like_an_unbroken_run(tmp_path: Path, photos: dict[str, Path]) -> None:
    killed_at_random(tmp_path, photos, 1)


@pytest.mark.slow
def test_killed_twenty_times_twice(tmp_path: Path, photos: dict[str, Path]) -> None:
    killed_at_random(tmp_path, photos, 20)


def test_two_processes_equal_one(tmp_path: Path, photos: dict[str, Path]) -> None:
    assert here(*command(tmp_path, photos, tmp_path / "one", steps=20)[1:]).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command(tmp_path, photos, tmp_path / "two", steps=20)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(GUARD_S) for process in processes] == [0, 0]
    rows = [read_log(tmp_path / name) for name in ("one", "two")]
    losses = [[row["loss"] for row in log if "loss" in row] for log in rows]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[0][0] != losses[0][-1]


def test_streams_must_suit_the_processes() -> None:
    with pytest.raises(ConfigError, match=r"streams=3"):
        Mixture([], MixtureConfig(batch=4, streams=2), torch.device("cpu"), part=(0, 3))
    with pytest.raises(ConfigError, match="must divide"):
        MixtureConfig(batch=4, streams=3)
