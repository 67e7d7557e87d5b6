"""Data sets that others wrote, read as they are."""

import json
from collections import Counter
from pathlib import Path

import pytest

from ingest.prompts import Broken, PromptInput, ReadOptions, read_prompts

DATA = Path(__file__).parents[2] / "examples/data"


def read(path, **options):
    return list(read_prompts(str(path), ReadOptions(**options)))


def once(name):
    """A name of the relations, of which some are escaped twice."""
    return json.loads(f'"{name}"') if "\\u" in name else name


def test_known_1000():
    path = DATA / "dual_path_attribution/known_1000.json"
    found = read(path)
    raw = json.loads(path.read_text())
    assert [(p.text, p.target, p.group) for p in found] == [
        (row["prompt"], f" {row['attribute']}", row["relation_id"]) for row in raw
    ]
    assert {p.dataset for p in found} == {"known_1000"}
    assert found[0].where == "known_1000.json, record 1"


def test_ioi_has_the_name_that_was_said_twice_as_its_foil():
    found = read(DATA / "dual_path_attribution/ioi.json")
    assert len(found) == 841
    assert found[0].target == " Deanna"
    assert found[0].foil == " Eleanor"
    for prompt in found:
        words = Counter(prompt.text.replace(",", " ").replace(".", " ").split())
        assert words[prompt.foil.strip()] >= 2
        assert words[prompt.target.strip()] == 1


def test_greater_than_is_a_minimal_pair_whose_target_ends_the_year():
    found = read(DATA / "eap_ig/greater_than_data.csv")
    assert len(found) == 2000
    clean, corrupted = found[:2]
    assert clean.text == "The contract lasted from the year 1352 to the year 13"
    assert corrupted.text == "The contract lasted from the year 1301 to the year 13"
    assert (clean.role, corrupted.role) == ("clean", "corrupted")
    assert clean.target == corrupted.target == "52"
    pairs: dict[str, set[tuple[str, str, str]]] = {}
    for prompt in found:
        pairs.setdefault(prompt.pair, set()).add((prompt.role, prompt.text, prompt.target))
    assert all(sorted(role for role, _, _ in pair) == ["clean", "corrupted"] for pair in pairs.values())
    assert all(len({target for _, _, target in pair}) == 1 for pair in pairs.values())
    for prompt in found:
        year = prompt.text.split("year ")[1][:4]
        assert prompt.role == "corrupted" or year.endswith(prompt.target)


@pytest.mark.parametrize("name", sorted(path.name for path in (DATA / "relations").glob("*.json")))
def test_every_relation_file(name):
    path = DATA / "relations" / name
    raw = json.loads(path.read_text())
    found = read(path)
    template = raw["prompt_templates"][0]
    wanted = {(template.replace("{}", once(s["subject"])), f" {once(s['object'])}") for s in raw["samples"]}
    assert {(p.text, p.target) for p in found} == wanted
    assert len(found) == len(wanted)
    assert {(p.dataset, p.group) for p in found} == {("relations", raw["name"])}
    every = read(path, all_templates=True)
    assert len(every) == len(wanted) * len(set(raw["prompt_templates"]))


def test_a_prompt_with_several_true_answers_is_a_prompt_for_each(tmp_path):
    samples = [{"subject": "love", "object": word} for word in ("hate", "hatred", "hate")]
    relation = {"name": "antonym", "prompt_templates": ["The opposite of {} is"], "samples": [*samples, 3]}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(relation))
    *found, broken = read(path)
    assert [(p.text, p.target) for p in found] == [
        ("The opposite of love is", " hate"),
        ("The opposite of love is", " hatred"),
    ]
    assert isinstance(broken, Broken)
    assert broken.where == "r.json, record 1, sample 4"


COUNTERFACT = {
    "case_id": 0,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": [],
}


def test_counterfact(tmp_path):
    path = tmp_path / "counterfact.json"
    path.write_text(json.dumps([COUNTERFACT, {"requested_rewrite": 3}]))
    prompt, broken = read(path)
    assert prompt == PromptInput(
        "The mother tongue of Danielle Darrieux is",
        target=" French",
        foil=" English",
        dataset="counterfact",
        group="P103",
        where="counterfact.json, record 1",
    )
    assert broken == Broken("counterfact.json, record 2", "its requested_rewrite is no object")


def test_fields_can_be_named_on_any_shape(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps([COUNTERFACT]))
    (chosen,) = read(path, target_field="requested_rewrite.target_new.str", group_field="case_id")
    assert (chosen.text, chosen.target, chosen.foil, chosen.group) == (
        "The mother tongue of Danielle Darrieux is", "English", " English", "0",
    )  # fmt: skip
    (made,) = read(path, template="{requested_rewrite.subject} speaks {{}}", foil_field="requested_rewrite.relation_id")
    assert (made.text, made.target, made.foil) == ("Danielle Darrieux speaks {}", None, "P103")


def test_a_template_around_the_prompts_of_a_text_file(tmp_path):
    path = tmp_path / "countries.txt"
    path.write_text("Japan\nPeru\n")
    assert [p.text for p in read(path, template="The capital of {} is")] == [
        "The capital of Japan is",
        "The capital of Peru is",
    ]
    (broken, _) = read(path, template="The capital of {land} is")
    assert broken == Broken("countries.txt, line 1", "it has no field 'land'. It has prompt.")


def test_a_named_field_that_is_not_there_is_broken(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"question": "x", "answers": "y"}\n')
    assert read(path, prompt_field="question", target_field="answer") == [
        Broken("f.jsonl, line 1", "it has no field 'answer'. It has question, answers. Did you mean 'answers'?")
    ]


def test_an_answer_that_is_not_in_the_prompt_has_no_foil(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "When Ann met Bob, Ann gave a drink to ", "answer": "Bob"}\n'
                    '{"prompt": "Ann and Ann live in", "answer": "Rome"}\n')
    spaced, plain = read(path)
    assert (spaced.target, spaced.foil) == ("Bob", "Ann")
    assert (plain.target, plain.foil) == (" Rome", None)
