"""Limits, samples and large files."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.prompts import Broken, PromptInput, ReadOptions, read_prompts

BROKEN_LINES = sorted(random.Random(3).sample(range(1, 100_001), 100))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """100,000 lines, 100 of them broken."""
    path = tmp_path_factory.mktemp("large") / "large.jsonl"
    broken = set(BROKEN_LINES)
    lines = ("{" if n in broken else json.dumps({"prompt": f"prompt {n}"}) for n in range(1, 100_001))
    path.write_text("\n".join(lines))
    return str(path)


def test_a_large_file_is_read_past_its_broken_lines(large):
    found = list(read_prompts(large))
    assert len(found) == 100_000
    assert [entry.where for entry in found if isinstance(entry, Broken)] == [
        f"large.jsonl, line {n}" for n in BROKEN_LINES
    ]


MEASURED = """
import sys, tracemalloc
from itertools import islice
from ingest.prompts import read_prompts
next(iter(read_prompts(sys.argv[1])))
tracemalloc.start()
print(sum(1 for _ in islice(read_prompts(sys.argv[1]), 15_000)), tracemalloc.get_traced_memory()[1])
"""


def test_a_large_file_is_not_held_in_memory(large):
    """In a process of its own: threads that other tests left would be measured too."""
    done = subprocess.run([sys.executable, "-c", MEASURED, large], capture_output=True, text=True, check=True)
    read, peak = map(int, done.stdout.split())
    assert read == 15_000
    assert peak < 500_000


def test_a_limit_stops_reading(large):
    found = list(read_prompts(large, ReadOptions(limit=5)))
    assert [p.text for p in found if isinstance(p, PromptInput)] == [f"prompt {n}" for n in range(1, 6)]


def test_a_sample_is_the_same_for_a_seed_in_order_and_from_the_whole_file(tmp_path):
    large = str(tmp_path / "large.txt")
    (tmp_path / "large.txt").write_text("".join(f"prompt {n}\n" for n in range(1, 20_001)))
    first, again, other = (
        [p.where for p in read_prompts(large, ReadOptions(sample=200, seed=seed)) if isinstance(p, PromptInput)]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    numbers = [int(where.split()[-1]) for where in first]
    assert len(set(numbers)) == 200
    assert numbers == sorted(numbers)
    # A uniform sample's mean lies within five standard errors of the middle.
    assert abs(sum(numbers) / 200 - 10_000) < 5 * 5_774 / 200**0.5


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 5))
def test_sample_then_limit(tmp_path_factory, size, limit, seed):
    path = tmp_path_factory.mktemp("small") / "p.txt"
    path.write_text("\n".join(f"prompt {n}" for n in range(8)))
    found = [p.text for p in read_prompts(str(path), ReadOptions(sample=size, seed=seed, limit=limit))]
    assert len(found) == min(size, limit, 8)
    assert found == sorted(set(found))


def test_a_minimal_pair_is_one_record(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = "".join(f"from 17{n} to 17,from 1701 to 17,{n}\n" for n in range(10, 40))
    path.write_text("clean,corrupted,label\n" + rows)
    for options in (ReadOptions(limit=7), ReadOptions(sample=7, seed=4)):
        found = list(read_prompts(str(path), options))
        assert len(found) == 14
        assert [p.role for p in found] == ["clean", "corrupted"] * 7
        assert all(a.pair == b.pair for a, b in zip(found[::2], found[1::2], strict=True))
