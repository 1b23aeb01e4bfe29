"""The data term of eqs. 2 and 5, |k * x - y|^2: the blur, its adjoint, and the step towards k * x = y.

Planes are (..., H, W) float32 and wrap round (`fourier.continued`); kernels are (h, w) float32 with odd sides.
Source: sections 2 and 3 of "A Deep Optimization Approach for Image Deconvolution" (Luo, Chen, Qian).
"""

from __future__ import annotations

import numpy as np

from golfdeblur.deconvolution import fourier

NOISE_LEVELS = (0.002, 0.06)
"""The least and the most noise that a stroke reckons with, of the pixel range [0, 1]."""


def convolve(x: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return k * x (eq. 1 without noise), in the shape of `x`."""
    return fourier.inverse(fourier.transfer_function(taps, x.shape) * fourier.transform(x), x.shape)


def convolve_adjoint(y: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Apply the exact adjoint of `convolve`: the dot products <k * x, y> and <x, adjoint(y)> are equal."""
    return fourier.inverse(np.conj(fourier.transfer_function(taps, y.shape)) * fourier.transform(y), y.shape)


class DataTerm:
    """|k * x - y|^2 of one blurry picture and its kernel, ready for several steps."""

    def __init__(self, y: np.ndarray, taps: np.ndarray, *, margin: int | None = None) -> None:
        self.shape = y.shape
        self.margin = max(taps.shape) if margin is None else margin
        wrapped = fourier.continued(y, 2 * self.margin)
        self.wrapped_shape = wrapped.shape[-2:]
        self.y = wrapped
        k = fourier.transfer_function(taps, wrapped.shape)
        self.power = (k.real**2 + k.imag**2).astype(np.float32)
        """|K|^2, (H', W' / 2 + 1)."""
        self.pulled = np.conj(k) * fourier.transform(wrapped)
        """The spectrum of the adjoint of y."""

    def step(self, x: np.ndarray, rho: float) -> np.ndarray:
        """Return x_mid = argmin |k * z - y|^2 + rho |z - x|^2 over z, the closed form of eq. 5's step, as `x`."""
        rho = np.float32(rho)
        spectrum = fourier.transform(fourier.continued(x, 2 * self.margin))
        spectrum *= rho
        spectrum += self.pulled
        spectrum /= self.power + rho
        return self._cut(fourier.inverse(spectrum, self.wrapped_shape))

    def solve(self, against: np.ndarray, added: np.ndarray | None = None) -> np.ndarray:
        """Return the wrapped z with (|K|^2 + `against`) Z = conj(K) Y + `added`: (H', W' / 2 + 1) each."""
        numerator = self.pulled if added is None else self.pulled + added
        return fourier.inverse(numerator / (self.power + against), self.wrapped_shape)

    def _cut(self, z: np.ndarray) -> np.ndarray:
        return z[..., : self.shape[-2], : self.shape[-1]]


def wiener(y: np.ndarray, taps: np.ndarray, noise: float) -> np.ndarray:
    """Return argmin |k * z - y|^2 + `noise` |grad z|^2: a Wiener filter for pictures whose power falls as 1 / f^2."""
    term = DataTerm(y, taps)
    return term._cut(term.solve(np.float32(noise) * fourier.gradient_power(term.wrapped_shape)))


def total_variation(y: np.ndarray, taps: np.ndarray, weight: float, *, growth: float = 2.0) -> np.ndarray:
    """Return argmin |k * z - y|^2 + 2 `weight` sum |grad z|, by half-quadratic splitting.

    Source: Wang, Yang, Yin, Zhang, "A new alternating minimization algorithm for total variation image
    reconstruction" (2008), anisotropic; the penalty rises by `growth` from 1 to 256.
    """
    term = DataTerm(y, taps)
    laplacian = fourier.gradient_power(term.wrapped_shape)
    z, penalty = term.y, 1.0
    while penalty < 256:
        across, down = (soft_threshold(d, 1 / penalty) for d in fourier.gradient(z))
        pulled = fourier.transform(fourier.gradient_adjoint(across, down))
        strength = np.float32(weight * penalty)
        z = term.solve(strength * laplacian, strength * pulled)
        penalty *= growth
    return term._cut(z)


def noise_level(y: np.ndarray) -> float:
    """Return the standard deviation of the noise in (..., H, W): of its finest diagonal differences, planes' mean.

    The median leaves edges out; fine texture counts as noise. It lies in NOISE_LEVELS, where G was trained.
    """
    even = y[..., : y.shape[-2] // 2 * 2, : y.shape[-1] // 2 * 2]
    if not even.size:
        return NOISE_LEVELS[0]
    d = (even[..., ::2, ::2] - even[..., 1::2, ::2] - even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 2
    medians = np.median(abs(d).reshape(-1, d.shape[-2] * d.shape[-1]), axis=1)
    return float(np.clip(float(medians.mean()) / 0.6745, *NOISE_LEVELS))


def soft_threshold(values: np.ndarray, by: float) -> np.ndarray:
    """Return the values moved towards 0 by `by`, those below it to 0."""
    return values - np.clip(values, np.float32(-by), np.float32(by))
