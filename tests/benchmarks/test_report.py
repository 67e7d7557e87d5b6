"""The report of all measurements: lines read back, limits judged, failures told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as benchmarks
from benchmarks.report import Ratio, ratio


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    st.floats(1e-6, 1e6),
    st.sampled_from([None, "most", "least"]),
    st.floats(1e-3, 1e3),
)
def test_a_line_reads_back(name, value, side, bound):
    written = Ratio(name, value, side, None if side is None else bound)
    read = Ratio.read(str(written) + "\n")
    assert read is not None
    assert (read.name, read.side) == (written.name, written.side)
    assert read.value == pytest.approx(value, rel=1e-3)
    assert read.bound == (None if side is None else pytest.approx(bound, rel=1e-5))


@pytest.mark.parametrize("line", ["", "lens 1.4", "ratio: x = 3", "ratio | only | two"])
def test_other_lines_are_no_ratios(line):
    assert Ratio.read(line) is None


def test_limits(capsys):
    assert ratio("a", 1.5, at_most=1.7).holds
    assert not ratio("a", 1.8, at_most=1.7).holds
    assert ratio("b", 60, at_least=60).holds
    assert not ratio("b", 59, at_least=60).holds
    assert ratio("c", 3).holds
    assert capsys.readouterr().out.splitlines()[0] == "ratio | a | 1.5 | at most 1.7"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout whose measurements are a good one, one that misses its limit and one that fails."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, code in {
        "good": "print('hello'); print('ratio | speed | 3 | at least 2')",
        "slow": "print('ratio | speed | 1 | at least 2')",
        "torn": "print('ratio | speed | 3 | '); raise SystemExit(3)",
        "synthetic": "raise SystemExit('never run')",
    }.items():
        (package / f"{name}.py").write_text(code)
    monkeypatch.setattr(benchmarks, "FOLDER", package)
    return package


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        (["good"], 0, ["speed           3  at least 2     ok"]),
        (["slow"], 1, ["NOT KEPT"]),
        (["torn"], 1, ["torn: ", "FAILED (exit code 3)"]),
        ([], 1, ["good: ", "slow: ", "torn: "]),
    ],
)
def test_one_report(folder, monkeypatch, capsys, names, code, said):
    monkeypatch.setattr("sys.argv", ["benchmarks", "--quick", *names])
    assert benchmarks.main() == code
    out = capsys.readouterr().out
    assert "flowatlas benchmarks (quick: small sizes)" in out
    assert all(text in out for text in said), out


def test_an_unknown_measurement(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "lense"])
    with pytest.raises(SystemExit) as left:
        benchmarks.main()
    assert left.value.code == 2
    assert "known: good, slow, torn" in capsys.readouterr().err
