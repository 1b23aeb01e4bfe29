import re

import pytest
import torch

from golfdeblur.learning import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("wished", "before", "ratio", "chosen", "words"),
    [
        ("float32", "bf16", 3.0, "float32", None),
        ("bf16", None, 0.1, "bf16", None),
        ("auto", None, 3.0, "bf16", r"Precision: bf16 \(bf16 runs at 3.0 times"),
        ("auto", None, 0.1, "float32", r"Precision: float32 \(bf16 runs at 0.1 times"),
        ("auto", None, 1.0, "float32", "float32"),
        ("auto", "bf16", 0.9, "bf16", "as this run began"),
        ("auto", "float32", 1.8, "float32", "as this run began"),
        ("auto", "bf16", 0.1, "float32", r"float32 from here on, bf16 before.*weights will differ"),
        ("auto", "float32", 3.0, "bf16", r"bf16 from here on, float32 before.*weights will differ"),
    ],
)
def test_what_is_chosen(
    monkeypatch: pytest.MonkeyPatch, wished: str, before: str | None, ratio: float, chosen: str, words: str | None
) -> None:
    monkeypatch.setattr(precision, "gain", lambda device: ratio)
    found, sentence = precision.settle(wished, before, CPU)
    assert found == chosen
    assert re.search(words or "^None$", str(sentence))


def test_the_measurement_leaves_everything_as_it_was() -> None:
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert precision.gain(CPU) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
