"""axe-core on every tab, dark and light; contrast of the graph's own labels, which axe cannot see."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from dashboard.palette import THEMES, Theme
from dashboard.view import TABS
from support.screen import Screen


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_findings_on_any_tab(screen: Screen, theme: str) -> None:
    screen.open(theme=theme, p=0, l="2-2", a=2, b=3, q="target_by_layer")
    found = []
    for tab in TABS:
        screen.tab(tab)
        screen.page.wait_for_timeout(700)
        result = Axe().run(screen.page).response
        found += [
            f"{tab}: {one['id']} ({one['impact']}): {[node['html'][:140] for node in one['nodes'][:3]]}"
            for one in result["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    assert found == []


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES.keys())
def test_labels_of_the_graph_can_be_read(theme: Theme) -> None:
    pairs = [*zip(theme.rank, theme.rank_text, strict=True), *zip(theme.entropy, theme.entropy_text, strict=True)]
    pairs += [*zip(theme.contribution, theme.contribution_text, strict=True), (theme.bottom, theme.bottom_text)]
    pairs += [(theme.panel, theme.muted), (theme.page, theme.muted), (theme.panel, theme.text), (theme.page, theme.text)]
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []
