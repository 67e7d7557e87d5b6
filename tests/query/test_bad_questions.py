"""Questions that cannot be answered: one clear error or note each, never an empty table without a word."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import query
from benchmarks.synthetic import TINY, model_tables, prompt_tables
from flowatlas.errors import FlowatlasError, QueryError, UsageError
from flowatlas.shard_writer import write_shard
from flowatlas.stores import open_store
from flowatlas.stores.base import Store

WRONG: list[tuple[str, dict[str, Any], type[FlowatlasError], str]] = [
    ("no_such_query", {}, UsageError, "no query 'no_such_query'"),
    ("top_neurons", {"prompt": 999}, UsageError, "no prompt 999"),
    ("top_neurons", {}, UsageError, "needs prompt"),
    ("top_neurons", {"prompt": 1, "neurons": 0}, UsageError, "neurons must be 1 or more, not 0"),
    ("top_neurons", {"prompt": 1, "layer": 3}, UsageError, "no layer 3"),
    ("top_memory_values", {"prompt": 1, "head": 4}, UsageError, "no head 4"),
    ("attention_pattern_mean", {"layer": 0, "head": 17}, UsageError, "no head 17"),
    ("heads_always_promoting_target", {"dataset": "fact"}, UsageError, "No prompt has the dataset 'fact'"),
    ("heads_always_promoting_target", {"group": "third"}, UsageError, "No prompt has the group 'third'"),
    ("heads_always_promoting_target", {"share": 1.5}, UsageError, "share must be in 0..1"),
    ("heads_always_promoting_target", {"rank": 51}, UsageError, "rank must be in 1..50"),
    ("heads_always_promoting_target", {"text": "nowhere to be found"}, QueryError, "No prompt is selected"),
    ("compare_prompts", {"a": 0, "b": 777}, UsageError, "no prompt 777"),
    ("compare_groups", {"a": "group=first", "b": "group=nobody"}, UsageError, "No prompt has the group 'nobody'"),
    ("minimal_pair", {"pair": "pair-99"}, UsageError, "no minimal pair 'pair-99'"),
    ("paths_from_token", {"prompt": 0, "source": 30}, UsageError, "no position 30"),
    ("alignment_heads", {"k": 51}, UsageError, "k must be in 1..50"),
]


@pytest.mark.parametrize(("name", "given", "kind", "message"), WRONG)
def test_wrong_questions(name: str, given: dict[str, Any], kind: type[FlowatlasError], message: str, ladybug: Store) -> None:
    with pytest.raises(kind, match=message) as raised:
        query.run(ladybug, name, **given)
    assert type(raised.value) is kind
    assert raised.value.known or raised.value.next_step or " must be " in raised.value.problem


@pytest.mark.parametrize(
    ("name", "given"),
    [("token_search", {"token": "no such token"}), ("always_on_neurons", {"rank": 1, "share": 1, "layer": 0}), ("neurons_of_token", {"token": "absent"})],
)
def test_an_empty_answer_says_so(name: str, given: dict[str, Any], ladybug: Store) -> None:
    result = query.run(ladybug, name, **given)
    assert result.table.num_rows == 0
    assert result.table.column_names
    assert any("Nothing in the store answers" in note for note in result.notes)


@pytest.fixture
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Prompts of two models, those of the second stored in part."""
    folder = tmp_path_factory.mktemp("mixed")
    store = open_store(str(folder / "store.lbug"), mode="write")
    for seed, keep in ((1, "full"), (2, "top:10")):
        tables = prompt_tables(TINY, range(3), seed)
        prompts = tables["Prompt"]
        index = prompts.schema.get_field_index("keep")
        tables["Prompt"] = prompts.set_column(index, prompts.schema.field("keep"), pa.array([keep] * 3))
        store.write(write_shard(folder, "model", model_tables(TINY, seed)))
        store.write(write_shard(folder, "prompts", tables))
    return store


def test_prompts_of_two_models(mixed: Store) -> None:
    with mixed as store:
        with pytest.raises(QueryError, match="several models") as raised:
            query.run(store, "top_heads_by_contribution")
        assert "-p model=" in raised.value.next_step
        with pytest.raises(QueryError, match="different models"):
            query.run(store, "compare_prompts", a=0, b=3)
        with pytest.raises(QueryError, match="different models"):
            query.compare(query.slice(store, 0), query.slice(store, 3))
        assert query.run(store, "prompts").table.num_rows == 6
        model = query.run(store, "models").frame["model"][0]
        assert query.run(store, "top_heads_by_contribution", model=model).table.num_rows == TINY.n_layer * TINY.n_head


def test_what_is_stored_in_part_is_said(mixed: Store) -> None:
    with mixed as store:
        partial = query.slice(store, 3).prompt
        assert partial["keep"] == "top:10"
        assert "keep=top:10" in str(query.slice(store, 3).note)
        assert any("keep=top:10" in note for note in query.run(store, "top_neurons", prompt=3).notes)
        notes = query.run(store, "top_heads_by_contribution", model=partial["model"]).notes
        assert any("Of 3 prompts only a part is stored" in note for note in notes)
        assert not query.run(store, "top_neurons", prompt=0).notes


def test_a_store_without_prompts(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_store(str(tmp_path_factory.mktemp("empty") / "store.lbug"), mode="write") as store:
        with pytest.raises(QueryError, match="no prompts yet"):
            query.run(store, "heads_always_promoting_target")
        with pytest.raises(UsageError, match="no prompt 0"):
            query.slice(store, 0)
