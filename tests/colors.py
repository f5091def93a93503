"""What the theme's colours come to: contrast on their backgrounds, and how far apart the colour-blind see them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

CONFIG = Path(__file__).resolve().parents[1] / ".streamlit" / "config.toml"
THEMES = ("light", "dark")
Rgb: TypeAlias = tuple[float, float, float]
"""Linear red, green and blue from 0 to 1."""

# Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# severity 1.0; for linear RGB.
SIGHTS: dict[str, Sequence[Rgb]] = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
# sRGB to CIE XYZ (IEC 61966-2-1), and the white of D65.
_XYZ: Sequence[Rgb] = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)


def theme(name: str) -> dict[str, str]:
    """The colours of the light or the dark theme."""
    options = tomllib.loads(CONFIG.read_text())["theme"][name]
    return {key: value for key, value in options.items() if isinstance(value, str)}


def linear(color: str) -> Rgb:
    """``#RRGGBB`` as linear light."""
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2: 4.5 for text, 3 for graphics."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def distance(one: str, other: str, sight: str) -> float:
    """CIEDE2000 between two colours as somebody with that sight sees them; from about 10 on nobody mixes them up."""
    return _ciede2000(_lab(_seen(one, sight)), _lab(_seen(other, sight)))


def _seen(color: str, sight: str) -> Rgb:
    red, green, blue = (min(1.0, max(0.0, value)) for value in _times(SIGHTS[sight], linear(color)))
    return red, green, blue


def _times(matrix: Sequence[Rgb], vector: Rgb) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _lab(color: Rgb) -> Rgb:
    x, y, z = (_cube_root(value / white) for value, white in zip(_times(_XYZ, color), _WHITE, strict=True))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _cube_root(value: float) -> float:
    return value ** (1 / 3) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29


def _ciede2000(one: Rgb, other: Rgb) -> float:
    """Sharma, Wu and Dalal 2005, "The CIEDE2000 Color-Difference Formula", whose names these are."""
    c_mean = (math.hypot(*one[1:]) + math.hypot(*other[1:])) / 2
    g = 1.5 - 0.5 * math.sqrt(c_mean**7 / (c_mean**7 + 25**7))
    (l1, c1, h1), (l2, c2, h2) = _polar(one, g), _polar(other, g)
    turn = (h2 - h1 + math.pi) % (2 * math.pi) - math.pi
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * math.sqrt(c1 * c2) * math.sin(turn / 2)
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    h_mean = h1 + turn / 2 if c1 * c2 else h1 + h2
    t = (
        1
        - 0.17 * math.cos(h_mean - math.radians(30))
        + 0.24 * math.cos(2 * h_mean)
        + 0.32 * math.cos(3 * h_mean + math.radians(6))
        - 0.20 * math.cos(4 * h_mean - math.radians(63))
    )
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / math.sqrt(20 + (l_mean - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c_mean, 1 + 0.015 * c_mean * t
    theta = math.radians(30) * math.exp(-(((math.degrees(h_mean) % 360 - 275) / 25) ** 2))
    r_t = -2 * math.sqrt(c_mean**7 / (c_mean**7 + 25**7)) * math.sin(2 * theta)
    l_part, c_part, h_part = d_l / s_l, d_c / s_c, d_h / s_h
    return math.sqrt(l_part**2 + c_part**2 + h_part**2 + r_t * c_part * h_part)


def _polar(lab: Rgb, g: float) -> Rgb:
    lightness, a, b = lab[0], lab[1] * g, lab[2]
    return lightness, math.hypot(a, b), math.atan2(b, a)
