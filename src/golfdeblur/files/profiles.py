"""ICC profiles for colours that a file describes by numbers: primaries and a curve (ICC.1:2022, ITU-T H.273).

Formats that hold no such numbers get the profile, so that the colours look as before.
"""

from __future__ import annotations

import struct

import numpy as np

Primaries = tuple[tuple[float, float], ...]
"""x and y of red, green, blue and white."""

D65 = (0.3127, 0.3290)
SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
PRIMARIES: dict[int, Primaries] = {
    1: SRGB,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}
"""By the numbers of H.273, table 2."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""y = ((x / 1.055) + 0.055 / 1.055) ** 2.4, below 0.04045 x / 12.92."""

CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 2, 6, 11, 13, 14, 15), SRGB_CURVE),  # video's are shown like sRGB
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
}
"""By the numbers of H.273, table 3; not 16 (PQ) and 18 (HLG), whose light is brighter than a profile can say."""

D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def of_numbers(primaries: int, transfer: int) -> bytes | None:
    """Return the profile for numbers of H.273; None for sRGB, and for what is unknown or cannot be said."""
    curve = CURVES.get(transfer)
    if curve is None or primaries not in PRIMARIES or (primaries == 1 and curve == SRGB_CURVE):
        return None
    return profile(PRIMARIES[primaries], curve)


def profile(primaries: Primaries, curve: tuple[float, ...], *, grey: bool = False) -> bytes:
    """Return an ICC profile; `curve` is an exponent or SRGB_CURVE. Raises ValueError for impossible primaries."""
    name = "grey" if grey else "colours"
    trc = b"para\0\0\0\0" + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + b"".join(map(_fixed, curve))
    tags = [(b"desc", _text(f"{name} as in the input")), (b"cprt", _text("CC0")), (b"wtpt", _xyz(D50))]
    if grey:
        tags += [(b"kTRC", trc)]
    else:
        adapted, columns = _columns(primaries)
        tags += [(b"chad", b"sf32\0\0\0\0" + b"".join(map(_fixed, adapted.ravel())))]
        tags += [(letter + b"XYZ", _xyz(column)) for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True)]
        tags += [(letter + b"TRC", trc) for letter in (b"r", b"g", b"b")]
    place, table, body = 132 + 12 * len(tags), b"", b""
    for signature, content in tags:
        table += signature + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space, date = b"GRAY" if grey else b"RGB ", struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4sI", place + len(body), b"golf", 0x04300000)
    head += b"mntr" + space + b"XYZ " + date + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def _columns(primaries: Primaries) -> tuple[np.ndarray, np.ndarray]:
    """Return the change of white to D50, and the XYZ of red, green and blue after it, both (3, 3)."""
    points = np.array([(x, y, 1 - x - y) for x, y in primaries])
    if (points[:, 1] <= 0).any() or abs(np.linalg.det(points[:3])) < 1e-6:
        raise ValueError("impossible primaries")
    white = points[3] / points[3, 1]
    matrix = points[:3].T * np.linalg.solve(points[:3].T, white)
    cones = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    adapted = np.linalg.solve(BRADFORD, cones @ BRADFORD)
    return adapted, adapted @ matrix


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(content), 28) + content
