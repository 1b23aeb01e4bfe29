"""What a camera makes of light: y = JPEG(develop(sensor(k * x))), every part of it as batched tensor code.

The sensor's noise, its gains and its colour matrices are those of Brooks et al., "Unprocessing images for learned raw
denoising" (CVPR 2019), measured on the Darmstadt data set; the demosaicing is that of Malvar, He and Cutler,
"High-quality linear interpolation for demosaicing of Bayer-patterned color images" (ICASSP 2004).

*Light* is linear and may exceed 1, which is white; a *picture* is sRGB in [0, 1]. To blur as a camera does:

    contrast = random_contrast(generator, len(sharp), config)
    light = to_light(sharp, generator, config, contrast=contrast)
    truth = develop(light, contrast)
    y = photograph(convolve(light, kernels), generator, config, contrast=contrast)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as nf
from torch import Tensor

from golfdeblur.errors import ConfigError
from golfdeblur.learning.jpeg import jpeg
from golfdeblur.learning.uniform import log_uniform, soften

SHOT_PER_ISO = 1e-6
"""The source's shot noise, 1e-4 to 0.012, counted as ISO 100 to 12,000: the variance is `shot * signal + read`."""

HIGHLIGHT = 0.8
"""Light above this, of 1 for white, may have been cut off by the sensor: the rise to the full gain begins here."""

HEADROOM = 1.5
"""The sensor's limit, in sRGB's colours: cut off in its own, lights would change their hue, as no truth does."""

RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
XYZ_TO_SENSOR = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
"""The colour matrices of four cameras."""

RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


@dataclass(frozen=True)
class CameraConfig:
    """Ranges that random cameras are drawn from; what is called a share is one of the pictures."""

    iso: tuple[float, float] = (100.0, 12_000.0)
    """Drawn log-uniformly. 0 to 0 is a sensor without noise."""
    bayer: float = 0.8
    """Share with a colour filter before the sensor; the others were reduced so far that every pixel saw all colours."""
    bright: float = 0.25
    """Share whose lights are brighter than white; the lights of the others are cut off before they are blurred."""
    light_gain: tuple[float, float] = (1.5, 8.0)
    """How many times brighter; drawn log-uniformly."""
    contrast: tuple[float, float] = (1.0, 1.5)
    """Slope of the tone curve at middle grey, on top of sRGB's own; 1 is none."""
    blotchy: float = 0.3
    blotches: tuple[float, float] = (0.2, 0.8)
    """Standard deviation of blotches of colour, of 1 for that of the noise at middle grey."""
    denoised: float = 0.3
    denoising: tuple[float, float] = (0.5, 1.5)
    """Edges lower than this many times the noise at middle grey are smoothed."""
    sharpened: float = 0.4
    sharpening: tuple[float, float] = (0.2, 1.0)
    """How much of what a Gaussian of 1 px takes away is added once more."""
    jpeg: float = 0.7
    jpeg_quality: tuple[float, float] = (60.0, 98.0)
    subsampled: float = 0.6
    """Share of the JPEGs with colours in half the size (4:2:0)."""

    def __post_init__(self) -> None:
        for name in ("bayer", "bright", "blotchy", "denoised", "sharpened", "jpeg", "subsampled"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a share and must lie in [0, 1].")
        limits = {"iso": (0, 1e6), "light_gain": (1, 1e3), "contrast": (0.1, 10), "jpeg_quality": (1, 100)}
        for name in (*limits, "blotches", "denoising", "sharpening"):
            (low, high), (least, most) = getattr(self, name), limits.get(name, (0, 10))
            if not least <= low <= high <= most:
                raise ConfigError(f"{name} {low, high} must rise and lie in [{least}, {most:g}].")
        if self.iso[0] == 0 < self.iso[1]:
            raise ConfigError(f"iso {self.iso} is drawn log-uniformly; start above 0, or give 0 twice for no noise.")


def to_linear(srgb: Tensor) -> Tensor:
    """Return the light of sRGB values: IEC 61966-2-1's curve, linear near black."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Tensor) -> Tensor:
    """Return the sRGB values of light, the inverse of `to_linear`."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def tone(x: Tensor, contrast: Tensor | float) -> Tensor:
    """Bend [0, 1] about the middle by an S of slope `contrast`: logit y = contrast logit x; 1 / contrast undoes it."""
    rise = x.clamp(0, 1) ** contrast
    return rise / (rise + (1 - x).clamp(0, 1) ** contrast)


def brighten(light: Tensor, gain: Tensor) -> Tensor:
    """Return the light that a sensor cut off: `gain` times as much where it is white, as it is below HIGHLIGHT."""
    return light * (1 + (gain - 1) * ((light - HIGHLIGHT) / (1 - HIGHLIGHT)).clamp(min=0))


def random_contrast(generator: torch.Generator, batch: int, config: CameraConfig) -> Tensor:
    """Draw (B, 1, 1, 1) contrasts for `tone`."""
    return _uniform(generator, batch, config.contrast)


def to_light(
    srgb: Tensor, generator: torch.Generator, config: CameraConfig, *, contrast: Tensor | None = None
) -> Tensor:
    """Return the light, (B, 3, H, W) >= 0, that made the pictures `srgb`; in a share what is white was brighter."""
    batch = len(srgb)
    gain = torch.where(_chosen(generator, batch, config.bright), log_uniform(generator, batch, config.light_gain), 1.0)
    flat = srgb if contrast is None else tone(srgb, 1 / contrast.to(srgb))
    return brighten(to_linear(flat), gain.to(srgb)[:, None, None, None])


def develop(light: Tensor, contrast: Tensor | None = None) -> Tensor:
    """Return the picture of `light` by a camera without any fault: cut off at white, sRGB's curve, the tone curve."""
    srgb = to_srgb(light.clamp(0, 1))
    return srgb if contrast is None else tone(srgb, contrast.to(srgb))


@torch.no_grad()
def photograph(
    light: Tensor, generator: torch.Generator, config: CameraConfig, *, contrast: Tensor | None = None
) -> Tensor:
    """Return the pictures in 8-bit levels, (B, 3, H, W) in [0, 1], that random cameras take of `light` >= 0.

    Every random quantity comes from `generator`, on the CPU; noise is drawn on the device of `light`.
    """
    batch = len(light)
    shot, read = random_noise(generator, batch, config)
    local = torch.Generator(light.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
    matrix, gains = random_colours(generator, batch)
    raw = mix(light.clamp(max=HEADROOM), matrix.to(light)) / gains.to(light)
    raw = _sensed(raw, (shot, read), _chosen(generator, batch, config.bayer), local)
    seen = mix(raw * gains.to(raw), torch.linalg.inv(matrix).to(raw))
    y = develop(seen, contrast)
    sigma = grey_noise(shot, read)
    shares = (config.blotchy, config.denoised, config.sharpened, config.jpeg, config.subsampled)
    blotchy, smoothed, sharpened, compressed, halved = (_chosen(generator, batch, share) for share in shares)
    ranges = (config.blotches, config.denoising, config.sharpening, config.jpeg_quality)
    spots, edge, amount, quality = (_uniform(generator, batch, limits) for limits in ranges)
    y = _apart(y, blotchy, lambda x, size: x + blotches(x, size, local), sigma * spots)
    y = _apart(y, smoothed, denoise, sigma * edge)
    y = _apart(y, sharpened, sharpen, amount)
    y = _apart(y.clamp(0, 1), compressed & halved, jpeg, quality.round())
    y = _apart(y, compressed & ~halved, lambda x, q: jpeg(x, q, subsampled=False), quality.round())
    return y.clamp(0, 1).mul_(255).round_().div_(255)


def random_noise(generator: torch.Generator, batch: int, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """Draw (B, 1, 1, 1) shot and read noise: log read = 2.18 log shot + 1.20 + N(0, 0.26)."""
    spread = 0.26 * torch.randn(batch, generator=generator)
    if config.iso[1] == 0:
        return torch.zeros(batch, 1, 1, 1), torch.zeros(batch, 1, 1, 1)
    shot = SHOT_PER_ISO * log_uniform(generator, batch, config.iso)
    read = torch.exp(2.18 * torch.log(shot) + 1.20 + spread)
    return shot[:, None, None, None], read[:, None, None, None]


def grey_noise(shot: Tensor, read: Tensor) -> Tensor:
    """Return the noise's standard deviation at middle grey, sRGB 0.5, as the picture shows it."""
    grey = float(to_linear(torch.tensor(0.5)))
    slope = 1.055 / 2.4 * grey ** (1 / 2.4 - 1)
    return slope * (shot * grey + read).sqrt()


def random_colours(generator: torch.Generator, batch: int) -> tuple[Tensor, Tensor]:
    """Draw (B, 3, 3) matrices from sRGB's light to the sensor's, white to white, and the (B, 3, 1, 1) gains back."""
    weights = torch.rand(batch, len(XYZ_TO_SENSOR), generator=generator) + 1e-6
    matrix = torch.einsum("bn,nij->bij", weights, torch.tensor(XYZ_TO_SENSOR)) @ torch.tensor(RGB_TO_XYZ)
    exposure = 1 / (0.8 + 0.1 * torch.randn(batch, 1, 1, 1, generator=generator)).clamp(min=0.5)
    red, blue = _uniform(generator, batch, (1.9, 2.4)), _uniform(generator, batch, (1.5, 1.9))
    return matrix / matrix.sum(2, keepdim=True), exposure * torch.cat([red, torch.ones_like(red), blue], 1)


def mix(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply every pixel's colour by `matrix`, (3, 3) for all pictures or (B, 3, 3)."""
    return (matrix.expand(len(x), 3, 3) @ x.flatten(2)).view_as(x)


def add_noise(x: Tensor, shot: Tensor, read: Tensor, local: torch.Generator) -> Tensor:
    """Add noise of variance `shot * x + read`, for x >= 0, drawn on x's device."""
    deviation = (shot.to(x) * x.clamp(min=0) + read.to(x)).sqrt_()
    return torch.randn(x.shape, generator=local, device=x.device).mul_(deviation).add_(x)


def mosaic(x: Tensor) -> Tensor:
    """Keep of (B, 3, H, W) what a sensor's colour filter lets through, rows RGRG and GBGB: (B, 1, H, W)."""
    seen = x[:, 1:2].clone()
    seen[..., ::2, ::2] = x[:, :1, ::2, ::2]
    seen[..., 1::2, 1::2] = x[:, 2:, 1::2, 1::2]
    return seen


def demosaic(seen: Tensor) -> Tensor:
    """Interpolate all colours, (B, 3, H, W), of what `mosaic` kept, corrected by the gradient of the known one."""
    height, width = seen.shape[-2:]
    padded = nf.pad(seen, (2, 2 + width % 2, 2, 2 + height % 2), mode="reflect")
    return nf.pixel_shuffle(nf.conv2d(padded, _cell_filters().to(seen), stride=2), 2)[..., :height, :width]


def _cell_filters() -> Tensor:
    """Return (12, 1, 6, 6): for each colour and each pixel of a 2 x 2 cell the 5 x 5 filter around that pixel."""
    own, cross, row, diagonal = torch.zeros(4, 5, 5)
    own[2, 2] = 8
    cross[2] = torch.tensor([-1.0, 2, 4, 2, -1])
    cross[:, 2] = cross[2]
    row[2] = torch.tensor([-1.0, 4, 5, 4, -1])
    row[:, 2] = torch.tensor([0.5, -1, 5, -1, 0.5])
    row[1::2, 1::2] = -1
    row[1::2, 2] = 0
    row[0, 2] = row[4, 2] = 0.5
    diagonal[2] = torch.tensor([-1.5, 0, 6, 0, -1.5])
    diagonal[:, 2] = diagonal[2]
    diagonal[1::2, 1::2] = 2
    column = row.T
    colours = ((own, row, column, diagonal), (cross, own, own, cross), (diagonal, column, row, own))
    placed = [nf.pad(f, (i % 2, 1 - i % 2, i // 2, 1 - i // 2)) for colour in colours for i, f in enumerate(colour)]
    return torch.stack(placed)[:, None] / 8


def blotches(x: Tensor, sigma: Tensor, local: torch.Generator) -> Tensor:
    """Draw for `x` noise of colour alone, several pixels wide, of standard deviation `sigma`, (B, 1, 1, 1)."""
    batch, _, height, width = x.shape
    grain = torch.randn(batch, 3, height // 4 + 2, width // 4 + 2, generator=local, device=x.device)
    grain -= mix(grain, torch.tensor(RGB_TO_YCC[:1] * 3).to(x))
    # Between the grains bilinear weights leave two thirds of the deviation.
    grain *= 1.5 * sigma.to(x) / grain.std((1, 2, 3), keepdim=True)
    return nf.interpolate(grain, (height, width), mode="bilinear", align_corners=False)


def denoise(x: Tensor, edge: Tensor) -> Tensor:
    """Smooth where the deviation within 5 x 5 pixels lies below `edge`, (B, 1, 1, 1), colours below twice that.

    The guided filter of He, Sun and Tang (ECCV 2010), each plane its own guide.
    """
    ycc = torch.tensor(RGB_TO_YCC).to(x)
    planes = mix(x, ycc)
    middle = _mean_5x5(planes)
    variance = (_mean_5x5(planes**2) - middle**2).clamp_(min=0)
    edges = (torch.tensor([1.0, 2.0, 2.0]).view(3, 1, 1).to(x) * edge) ** 2 + 1e-8
    slope = variance / (variance + edges)
    return mix(_mean_5x5(slope) * planes + _mean_5x5((1 - slope) * middle), torch.linalg.inv(ycc))


def _mean_5x5(x: Tensor) -> Tensor:
    """Average 5 x 5 pixels; sums of shifted copies take a third of avg_pool2d's time."""
    height, width = x.shape[-2:]
    padded = nf.pad(x, (2, 2, 2, 2), mode="replicate")
    rows, total = padded[..., :width].clone(), torch.zeros_like(x)
    for i in range(1, 5):
        rows += padded[..., i : i + width]
    for i in range(5):
        total += rows[..., i : i + height, :]
    return total.div_(25)


def sharpen(x: Tensor, amount: Tensor) -> Tensor:
    """Add `amount`, (B, 1, 1, 1), times what a Gaussian of 1 px takes from `x`."""
    return x + amount.to(x) * (x - soften(x, 1.0))


def _sensed(raw: Tensor, noise: tuple[Tensor, Tensor], bayer: Tensor, local: torch.Generator) -> Tensor:
    """Return what the sensor saw of `raw`: through a colour filter where `bayer`, (B,), is true."""
    out = torch.empty_like(raw)
    for chosen, view, back in ((bayer, mosaic, demosaic), (~bayer, torch.clone, torch.clone)):
        index = torch.nonzero(chosen)[:, 0]
        if len(index):
            seen = add_noise(view(raw[index]), noise[0][index], noise[1][index], local)
            out[index] = back(seen)
    return out


def _apart(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor], amount: Tensor) -> Tensor:
    """Change the `chosen` pictures, (B,), each by its own `amount`, in place."""
    index = torch.nonzero(chosen)[:, 0]
    if len(index):
        x[index] = change(x[index], amount[index].to(x))
    return x


def _chosen(generator: torch.Generator, batch: int, share: float) -> Tensor:
    return torch.rand(batch, generator=generator) < share


def _uniform(generator: torch.Generator, batch: int, limits: tuple[float, float]) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)
