"""What the page reads from the store, with short memories so that a slider does not ask twice."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from dashboard.choice import SUMMARY, Choice
from dashboard.desk import Desk
from dashboard.elements.text import visible
from dashboard.free_memory import give_back
from dashboard.jobs import Jobs
from dashboard.picture import Picture, message, picture
from dashboard.view import GraphView
from flowatlas.errors import FlowatlasError, UsageError
from flowatlas.stores.base import Store
from query.graph import Graph
from query.pruning import Policy, prune
from query.slice import outline, with_neurons

KEPT_GRAPHS: Final = 4
KEPT_OUTLINES: Final = 3
"""Whole graphs before pruning: what a slider moves on. The largest take tens of megabytes."""
KEPT_SECONDS: Final = 300.0
GIVE_BACK_EVERY: Final = 4
"""Graphs made between two times of giving freed memory back."""
T = TypeVar("T")


class Memory:
    """A small cache, least recently used out first, each entry for a limited time."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size, self.seconds = size, seconds
        self._kept: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made if it is not kept."""
        found = self.kept(key)
        if found is not None:
            return cast("T", found)
        value = make()
        with self._lock:
            self._kept[key] = (time.monotonic(), value)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
        return value

    def kept(self, key: Hashable) -> Any:
        """The value of `key` if it is kept, or None."""
        with self._lock:
            entry = self._kept.get(key)
            if entry is None or time.monotonic() - entry[0] >= self.seconds:
                return None
            self._kept.move_to_end(key)
            return entry[1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


class Source:
    """The store as the page sees it, the desk for people's questions and the ingests of typed prompts."""

    def __init__(self, store: Store, desk: Desk | None = None, jobs: Jobs | None = None) -> None:
        self.store = store
        self.desk = desk or Desk(store.uri)
        self.jobs = jobs or Jobs(store.uri)
        self.graphs = Memory(KEPT_GRAPHS, KEPT_SECONDS)
        self._made = 0
        self.outlines = Memory(KEPT_OUTLINES, KEPT_SECONDS)

    def prompts(self) -> list[dict[str, Any]]:
        """Rows of the prompts tables, in the order of their ids."""
        text = (
            "MATCH (p:Prompt) RETURN p.id AS id, p.text AS text, p.dataset AS dataset, p.`group` AS `group`, p.target AS target, "
            "p.foil AS foil, p.predicted AS predicted, p.predicted_prob AS predicted_prob, p.target_prob AS target_prob, "
            "p.target_rank AS target_rank, p.correct AS correct, p.n_tokens AS n_tokens, p.keep AS keep, p.model AS model, "
            "p.pair AS pair, p.role AS role ORDER BY id"
        )
        rows: list[dict[str, Any]] = self.store.read(text).to_pylist()
        for row in rows:
            for name in ("text", "target", "foil", "predicted", "dataset", "group"):
                row[name] = None if row[name] is None else visible(row[name])
        return rows

    def count(self) -> int:
        """How many prompts there are now."""
        return int(self.store.read("MATCH (p:Prompt) RETURN count(p) AS n")["n"][0].as_py())

    def newest(self, text: str) -> int | None:
        """The prompt with that text that came last."""
        found = self.store.read("MATCH (p:Prompt) WHERE p.text = $text RETURN max(p.id) AS id", {"text": text})["id"].to_pylist()
        return found[0] if found else None

    def forget(self) -> None:
        """Something was added or deleted: read again."""
        self.graphs.clear()
        self.outlines.clear()

    def first_prompt(self) -> int | None:
        """The prompt that the page opens with."""
        found = self.store.read("MATCH (p:Prompt) RETURN min(p.id) AS id")["id"].to_pylist()
        return found[0] if found else None

    def graph(self, view: GraphView, also: frozenset[int] = frozenset()) -> Graph:
        """The pruned graph of a view, `also` what else must stay. Raises FlowatlasError."""
        choice = replace(_choice(view), also=also)
        layers = None if view.layers is None else range(view.layers[0], view.layers[1] + 1)
        prompt = view.prompt
        assert prompt is not None

        def pruned() -> Graph:
            self._made += 1
            if self._made % GIVE_BACK_EVERY == 0:
                give_back()
            whole = self.outlines.get((prompt, layers), lambda: self._outline(prompt, layers))
            return with_neurons(self.store, prune(whole, cast("Policy", choice)))

        return self.graphs.get((prompt, layers, choice), pruned)

    def _outline(self, prompt: int, layers: range | None) -> Graph:
        """Layers before pruning: a part of the whole model where that was read already, as for the summary."""
        whole = None if layers is None else self.outlines.kept((prompt, None))
        return outline(self.store, prompt, layers) if whole is None else cast("Graph", whole).slice(cast("range", layers))

    def n_layer(self, prompt: int) -> int:
        """Layers of a prompt's model. Raises UsageError when there is no such prompt."""
        text = "MATCH (p:Prompt), (m:Model) WHERE p.id = $prompt AND m.id = p.model RETURN m.n_layer AS n"
        found = self.store.read(text, {"prompt": prompt})["n"].to_pylist()
        if not found:
            raise UsageError(f"There is no prompt {prompt}.", next_step="It may have been deleted; choose another.")
        return int(found[0])

    def checked(self, view: GraphView) -> GraphView:
        """The view with a prompt that is there and layers that its model has. Raises FlowatlasError."""
        prompt = view.prompt if view.prompt is not None else self.first_prompt()
        if prompt is None:
            raise UsageError("The store holds no prompts yet.", next_step="Type one in the Prompts tab, or ingest a file.")
        return replace(view, prompt=prompt).clamped(self.n_layer(prompt))

    def picture(self, view: GraphView) -> Picture:
        """What the Graph tab draws; a failure becomes an empty picture with a message."""
        try:
            checked = self.checked(view)
            return picture(self.graph(checked), checked)
        except FlowatlasError as error:
            return message(str(error), (*view.problems, str(error)))


def _choice(view: GraphView) -> Choice:
    """The pruning of a view; the summary has its own."""
    if view.layers is None:
        return Choice(SUMMARY)
    shown = GraphView(
        positive=view.positive, negative=view.negative, memories=view.memories, heads=view.heads,
        head_count=view.head_count, score=view.score,
    )  # fmt: skip
    return Choice(shown, frozenset(int(word.lstrip("sn")) for word in view.expanded))
