"""How the command line leaves: 0 done, 1 failed, 2 used wrongly; one message on stderr, data only on stdout."""

import subprocess
import sys

import pytest

FLOWATLAS = (sys.executable, "-m", "flowatlas")


def flowatlas(*arguments, cwd):
    return subprocess.run([*FLOWATLAS, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--version"], 0, ""),
        (["--help"], 0, ""),
        (["frobnicate"], 2, "No such command"),
        (["query", "--colour"], 2, "No such option"),
        (["ingest"], 2, "Missing argument"),
        (["ingest", "absent.txt"], 1, "There is no file absent.txt"),
        (["ingest", "empty.txt"], 1, "empty.txt holds no prompts"),
        (["ingest", "prompts.docx"], 1, "says nothing about its format"),
        (["ingest", "one.txt", "--limit", "0"], 2, "limit"),
        (["ingest", "one.txt", "--format", "jsn"], 2, "Did you mean 'json'"),
        (["query", "heads_always_promoting_targt"], 2, "Did you mean 'heads_always_promoting_target'"),
    ],
)
def test_exit_code_and_message(tmp_path, arguments, code, message):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "prompts.docx").write_text("x")
    (tmp_path / "one.txt").write_text("The capital of Japan is")
    done = flowatlas(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert done.stdout == ""
        assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.glob("*.lbug*")), "nothing half-written"


def test_a_reader_that_goes_away_is_no_failure(tmp_path):
    """`flowatlas query | head -1`: no traceback, no error."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -m flowatlas query | head -1 >/dev/null"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 141)
