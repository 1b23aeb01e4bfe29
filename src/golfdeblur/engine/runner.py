"""A network on arrays of any size."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from golfdeblur import runtimes
from golfdeblur.engine import scales, tiles
from golfdeblur.engine.budget import LARGEST_TILE_PX
from golfdeblur.engine.cells import fill, whole
from golfdeblur.errors import ConfigError
from golfdeblur.runtimes import Session
from golfdeblur.weights import UNKNOWN_BYTES_PER_PX, NetworkFile

SMALLEST_TILE_PX = 256 * 256
"""Where even this does not fit into memory, the picture fails."""


@dataclass(frozen=True)
class Runner:
    """F or G on arrays of any size: padded to whole cells, large ones in exact tiles, all scales one after another.

    It holds nothing that a run changes, so many threads may use one.
    """

    session: Session
    multiple_px: int
    overlap_px: int | None = None
    """How far parts of an image must overlap (`tiles`); None: the network must see it whole."""
    scales: int = 1
    bytes_per_px: int = UNKNOWN_BYTES_PER_PX
    takes_level: bool = False
    """`x` has a fourth channel, the level of noise (`golf.level`)."""

    def __call__(
        self,
        x: np.ndarray,
        *,
        tile_px: int = LARGEST_TILE_PX,
        coarse: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return F(x) or G(x) for `x`, (B, 3, H, W) float32 in [0, 1], in the same shape; not clipped.

        An image of more than `tile_px` pixels is tiled. A part of an image brings the whole image's `coarse` along
        (`coarse_of`), from its own first row on. `out`, of the shape of `x`, is memory that the result may be written
        to: fresh pages for a large frame can take a tenth of the time. Raises MemoryError where not even small tiles
        fit.
        """
        if self.scales > 1 and coarse is None:
            coarse = self.coarse_of(scales.half(x, multiple=self.multiple_px), tile_px=tile_px)
        return self._one_scale(x, coarse, tile_px=tile_px, out=out)

    def coarse_of(self, half: np.ndarray, *, tile_px: int) -> np.ndarray:
        """Return what the other scales add to `half`, the image at half the size (`scales.halved`)."""
        one_scale = functools.partial(self._one_scale, tile_px=tile_px)
        return scales.residual(one_scale, half, self.scales - 1, multiple=self.multiple_px)

    def _one_scale(
        self, x: np.ndarray, coarse: np.ndarray | None, *, tile_px: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute one scale, in smaller tiles where memory runs out."""
        while True:
            try:
                return self._tiled(x, coarse, tile_px, out)
            except MemoryError:
                if self.overlap_px is None or tile_px <= SMALLEST_TILE_PX:
                    raise
                tile_px = min(tile_px, x[0, 0].size) // 2

    def _tiled(self, x: np.ndarray, coarse: np.ndarray | None, tile_px: int, out: np.ndarray | None) -> np.ndarray:
        batch, channels, height, width = x.shape
        m, overlap = self.multiple_px, self.overlap_px
        size = whole(height, m), whole(width, m)
        if overlap is None or size[0] * size[1] <= tile_px:
            if coarse is not None:
                given = scales.join(
                    x, coarse[:, :, : size[0] // 2], out=np.empty((batch, 2 * channels, *size), x.dtype)
                )
            elif size == (height, width):
                given = np.ascontiguousarray(x)
            else:
                given = fill(x, out=np.empty((batch, channels, *size), x.dtype))
            return self.session(given)[:, :, :height, :width]
        tile = tiles.best_tile(size, tile_px=tile_px, overlap=overlap, multiple=m)
        return tiles.run_tiled(self.session, x, tile=tile, overlap=overlap, multiple=m, coarse=coarse, out=out)


def open_runner(file: NetworkFile, runtime: str = "auto") -> Runner:
    """Check the sha256 of a network on disk and make it ready to run in one of `runtimes.RUNTIMES`.

    `auto` is onnxruntime on the CPU where what it stands for does not start. Raises WeightsError if the checksum does
    not match, ConfigError for a runtime that is unknown, not installed, or too inexact, or that the model has no
    networks for.
    """
    content = file.content()
    name = runtimes.resolve(runtime)
    try:
        # The G of the strokes has no 8-bit form.
        asked = file.int8_content() if name.endswith("int8") and not file.takes_level else content
        session = runtimes.open_network(name, asked, file.spec)
    except ConfigError:
        if runtime != "auto":
            raise
        name = "onnxruntime"
        session = runtimes.open_network(name, content, file.spec)
    if name in runtimes.REDUCED and not file.takes_level:
        reference = runtimes.open_network("onnxruntime", content)
        found = runtimes.agreement_db(session, reference, multiple_px=file.multiple_px, scales=file.scales)
        if found < runtimes.REDUCED[name]:
            raise ConfigError(
                f"Runtime '{name}' agrees with float32 only to {found:.1f} dB on this machine, "
                f"{runtimes.REDUCED[name]:.0f} are needed; use --runtime auto."
            )
    return Runner(session, file.multiple_px, file.overlap_px, file.scales, file.bytes_per_px, file.takes_level)
