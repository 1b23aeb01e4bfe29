import dataclasses

from golfdeblur.learning.bench import bench_training

from .test_train import TINY


def test_every_way_of_training_is_timed() -> None:
    for stage in ("f", "g"):
        speeds = list(bench_training(dataclasses.replace(TINY, stage=stage), seconds=0.05, compiled=False))
        assert {(s.precision, s.layout) for s in speeds} == {
            (precision, layout) for precision in ("float32", "bf16") for layout in ("contiguous", "channels last")
        }
        assert all(s.step_mpx_per_s > 0 and s.share > 0 for s in speeds)
