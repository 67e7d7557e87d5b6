"""A batch is its prompts alone, whatever the number of threads that share its rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from flowatlas.shards import renumber
from ingest.architecture.load import load_model
from ingest.lens.lens import LogitLens
from ingest.neurons import TargetRanks
from ingest.pipeline.batch import Workshop, graph_tables
from ingest.pipeline.prepare import Choices, Prepared, prepare
from ingest.prompts import PromptInput
from support.models import random_model

TEXTS = ("the city of", "Japan", "Mary went to the store", "the city of Paris", "Paris is the capital of France")


def test_any_number_of_workers_and_single_prompts(tmp_path: Path) -> None:
    model = load_model(str(random_model("gpt2", tmp_path)))

    def tables(texts: tuple[str, ...], threads: int, chunk_rows: int, first: int = 0) -> dict[str, pl.DataFrame]:
        lens = LogitLens.of(model.decoder, threads=threads, chunk_rows=chunk_rows)
        workshop = Workshop(model, lens, TargetRanks(model.decoder, lens), Choices(positions="all"), threads)
        found = [prepare(PromptInput(text=text, target=" the", where=""), model, workshop.choices) for text in texts]
        made = graph_tables(workshop, [one for one in found if isinstance(one, Prepared)])
        moved = renumber(made, {number: number + first for number in range(len(texts))})
        return {name: pl.DataFrame(pl.from_arrow(table)) for name, table in moved.items()}

    together = tables(TEXTS, 1, 480)
    alone = [tables((text,), 1, 480, first=number) for number, text in enumerate(TEXTS)]
    single = {name: pl.concat([part[name] for part in alone]) for name in together}
    for other in (tables(TEXTS, 2, 480), tables(TEXTS, 5, 7), single):
        for name, frame in together.items():
            ids = [column for column in ("id", "from", "to") if column in frame.columns]
            close = {"check_exact": False, "rel_tol": 1e-5, "abs_tol": 1e-5}
            assert_frame_equal(frame.sort(ids), other[name].sort(ids), **close)
