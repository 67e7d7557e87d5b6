"""Colours of the light and the dark theme, one place for the page, the SVG and the standalone page.

Edges own blue, red, purple, teal and grey, so amber is kept for the target's rank.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Theme:
    """One theme. Sequences go from the strongest to the weakest bucket."""

    page: str
    panel: str
    border: str
    zebra: str
    text: str
    muted: str
    rank: tuple[str, str, str, str, str]
    rank_text: tuple[str, str, str, str, str]
    bottom: str
    bottom_text: str
    positive: str
    negative: str
    norm: str
    attention: str
    residual: str
    residual_mlp: str
    sums: tuple[str, str, str, str, str]
    entropy: tuple[str, str, str, str, str]
    entropy_text: tuple[str, str, str, str, str]
    contribution: tuple[str, str, str, str, str, str, str]
    contribution_text: tuple[str, str, str, str, str, str, str]
    hub: str
    select: str


LIGHT: Final = Theme(
    page="#F8FAFC",
    panel="#FFFFFF",
    border="#E2E8F0",
    zebra="#F4F7FA",
    text="#0F172A",
    muted="#526077",
    rank=("#F59E0B", "#FBC14E", "#FCDD98", "#FDF0CF", "#FFFFFF"),
    rank_text=("#1C1206", "#241804", "#2B1D05", "#33291A", "#1F2937"),
    bottom="#E2E8F0",
    bottom_text="#334155",
    positive="#2563EB",
    negative="#DC2626",
    norm="#7C3AED",
    attention="#0F9F8F",
    residual="#334155",
    residual_mlp="#64748B",
    sums=("#1F2937", "#4B5563", "#7B8494", "#A9B1BD", "#D5DAE1"),
    entropy=("#5B21B6", "#7C4DEB", "#C4B5FD", "#E6DFFD", "#FFFFFF"),
    entropy_text=("#FFFFFF", "#FFFFFF", "#1E1147", "#1E1147", "#1F2937"),
    contribution=("#FCA5A5", "#FECACA", "#FEE9E9", "#FFFFFF", "#E3EDFE", "#BFD6FE", "#8FB8FC"),
    contribution_text=("#450A0A", "#450A0A", "#450A0A", "#1F2937", "#0B1F4B", "#0B1F4B", "#0B1F4B"),
    hub="#1F2937",
    select="#0F172A",
)

DARK: Final = Theme(
    page="#0B1120",
    panel="#111A2E",
    border="#24324D",
    zebra="#16213A",
    text="#E6EDF7",
    muted="#A3B1C9",
    rank=("#FBBF24", "#D9920F", "#9A6A15", "#5C441B", "#16213A"),
    rank_text=("#1C1206", "#1C1206", "#FFFFFF", "#FCE8BF", "#D6DFEE"),
    bottom="#2B3650",
    bottom_text="#C6D0E2",
    positive="#5B9BFF",
    negative="#FF6B6B",
    norm="#A78BFA",
    attention="#2DD4BF",
    residual="#CBD5E1",
    residual_mlp="#8494AD",
    sums=("#E2E8F0", "#B6C2D4", "#8392AB", "#5F6E88", "#44526B"),
    entropy=("#C4B5FD", "#7A58E6", "#5B3FB8", "#34276B", "#16213A"),
    entropy_text=("#1E1147", "#FFFFFF", "#FFFFFF", "#E6DFFD", "#D6DFEE"),
    contribution=("#B91C1C", "#7F1D1D", "#4A1B26", "#16213A", "#1B2F5E", "#1E429F", "#2563EB"),
    contribution_text=("#FFFFFF", "#FFE4E4", "#FFE4E4", "#D6DFEE", "#DCE8FF", "#DCE8FF", "#FFFFFF"),
    hub="#CBD5E1",
    select="#FFFFFF",
)

THEMES: Final = {"light": LIGHT, "dark": DARK}


def themes() -> dict[str, dict[str, Any]]:
    """Both themes as JSON for the page's own scripts."""
    return {name: asdict(theme) for name, theme in THEMES.items()}
