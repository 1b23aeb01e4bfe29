import os
from pathlib import Path

import psutil
import pytest

import golfdeblur
from golfdeblur import machine
from golfdeblur.engine import budget
from golfdeblur.errors import ConfigError

MIB = 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up tree of control groups, on a machine of 16 cores and 64 GiB."""
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * 1024 * MIB}))
    for name in (*machine.BATCH_SETTINGS, machine.SETTING):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "groups"


def belongs_to(groups: Path, *lines: str) -> None:
    (groups.parent / "membership").write_text("\n".join(lines) + "\n")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_without_limits_it_is_the_machine(groups: Path) -> None:
    assert machine.cores() == 16
    assert machine.free_bytes() == 64 * 1024 * MIB
    belongs_to(groups, "0::/")
    write(groups, cpu__max="max 100000", memory__max="max", memory__high="max", memory__current="5", memory__stat="")
    assert machine.cores() == 16
    assert machine.free_bytes() == 64 * 1024 * MIB


@pytest.mark.parametrize(
    ("own", "outer", "cores"), [("150000", "max", 2), ("max", "300000", 3), ("50000", "300000", 1)]
)
def test_the_least_quota_of_nested_groups_counts(groups: Path, own: str, outer: str, cores: int) -> None:
    belongs_to(groups, "0::/job/step")
    write(groups / "job", cpu__max=f"{outer} 100000")
    write(groups / "job" / "step", cpu__max=f"{own} 100000")
    assert machine.cores() == cores


def test_quotas_of_version_1(groups: Path) -> None:
    belongs_to(groups, "12:memory:/job", "4:cpu,cpuacct:/job", "0::/")
    write(groups / "cpu,cpuacct" / "job", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    write(groups / "cpu,cpuacct", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert machine.cores() == 4


def test_a_container_sees_its_own_group_as_the_root(groups: Path) -> None:
    belongs_to(groups, "0::/../../of/the/host")
    write(groups, cpu__max="200000 100000")
    assert machine.cores() == 2


def test_a_batch_job_and_the_affinity_count(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    assert machine.cores() == 5
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7}, raising=False)
    assert machine.cores() == 2


def test_files_in_memory_are_free(groups: Path) -> None:
    belongs_to(groups, "0::/job/step")
    stat = f"anon {100 * MIB}\nactive_file {300 * MIB}\ninactive_file {1500 * MIB}"
    write(groups / "job" / "step", memory__max="max", memory__high="max", memory__current="7", memory__stat=stat)
    limits = {"memory__max": str(2048 * MIB), "memory__high": str(2000 * MIB)}
    write(groups / "job", **limits, memory__current=str(1996 * MIB), memory__stat=stat)
    assert machine.free_bytes() == (2000 - 196) * MIB
    assert budget.default_budget() == (2000 - 196) * MIB // 2


def test_files_in_memory_are_free_in_version_1_too(groups: Path) -> None:
    belongs_to(groups, "12:memory:/job")
    stat = f"active_file 1\ninactive_file 1\ntotal_active_file {300 * MIB}\ntotal_inactive_file {500 * MIB}"
    folder = groups / "memory" / "job"
    write(folder, memory__limit_in_bytes=str(1024 * MIB), memory__usage_in_bytes=str(1000 * MIB), memory__stat=stat)
    assert machine.free_bytes() == (1024 - 200) * MIB


def test_one_setting_for_all(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.threads() == 16
    monkeypatch.setenv(machine.SETTING, "3")
    assert machine.threads() == 3
    with machine.using(2):
        assert machine.threads() == 2
        with machine.using(None):
            assert machine.threads() == 2
    assert machine.threads() == 3


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_threads_gets_a_sentence(given: str, tiny_model: Path, monkeypatch) -> None:
    monkeypatch.setenv(machine.SETTING, given)
    with pytest.raises(ConfigError, match=f"{given} is no number of threads; give 1 or more"):
        machine.threads()
    with pytest.raises(ConfigError, match="no number of threads"):
        golfdeblur.load(tiny_model, threads=0)


def test_the_processor_is_named_with_what_it_can(groups: Path, tmp_path: Path) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text("model name\t: A Chip\nflags\t\t: fpu avx avx2 avx512_bf16 amx_tile sse2\n\n")
    assert machine.processor(described) == "A Chip, 16 cores, avx2, avx512_bf16, amx_tile"
    assert ", 16 cores" in machine.processor(tmp_path / "none")
