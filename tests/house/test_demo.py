"""What `flowatlas demo` keeps between two runs."""

import pytest

from flowatlas.cli import demo


@pytest.fixture
def made(tmp_path):
    """A folder as a finished demo leaves it."""
    folder = tmp_path / "demo.run"
    assert demo.prepare(folder)
    (folder / "demo.lbug").write_text("store")
    (folder / "demo.shards").mkdir()
    (folder / "ready").touch()
    return folder


def test_a_finished_demo_is_used_again(made):
    assert not demo.prepare(made)
    assert (made / "demo.lbug").exists()


def test_an_interrupted_one_goes_on_where_it_was(made):
    (made / "ready").unlink()
    assert demo.prepare(made)
    assert (made / "demo.lbug").exists()
    assert (made / "demo.shards").exists()


@pytest.mark.parametrize("what", ["prompts or model", "store"])
def test_one_made_from_something_else_is_made_again(made, what):
    if what == "store":
        (made / "demo.lbug").unlink()
    else:
        (made / "made_from").write_text("flowatlas 0.0.1")
    assert demo.prepare(made)
    assert sorted(path.name for path in made.iterdir()) == ["made_from"]


def test_a_file_that_is_not_the_demos_stays(made):
    (made / "notes.txt").write_text("mine")
    (made / "made_from").unlink()
    assert demo.prepare(made)
    assert (made / "notes.txt").read_text() == "mine"
