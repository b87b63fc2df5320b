"""A page: what it says, in which order, and that it needs nothing else."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from regraft.report import comparison_html
from regraft.report.figures import distinct
from regraft.report.material import Material
from regraft.report.page import of_run
from regraft.report.sections import SECTIONS
from regraft.report.sections.result import headline
from tests.report.made import AUDIT, CURVE, comparison, material

SECTION = {key: make for key, _, make in SECTIONS}
HOSTILE = ["<script>alert(1)</script>", '" onload="x', "a & b $x$", "'); DROP", "日本\u202e語"]


class Reader(HTMLParser):
    """A page as a tree of what is open; fails where something is not closed."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.decode())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def of(self, kind: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == kind]


def said(key: str, made: Material) -> str:
    """The text of one section, '' if it is left out; the first one is 'accuracy'."""
    make = {key: make for key, _, make in SECTIONS} | {"accuracy": headline}
    return Reader(str(make[key](made) or "").encode()).text


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The page with everything on it."""
    return of_run(material()).data


@pytest.fixture(scope="module", params=["run", "comparison"])
def page(request: pytest.FixtureRequest, whole: bytes) -> bytes:
    return whole if request.param == "run" else comparison_html(comparison())


def test_accuracy_with_its_interval_comes_first(whole: bytes) -> None:
    test = material(count=90).report["test"]
    low, high = test["accuracy_ci95"]
    text = Reader(whole).text
    score = text.index(f"{100 * test['accuracy']:.1f}\xa0%")
    ends = text.index(f"95\xa0% interval {100 * low:.1f}\xa0% to {100 * high:.1f}\xa0%")
    assert score < ends < text.index("90 pictures that the model had not learned from")
    assert ends < text.index("What was done")


def test_every_section_is_there_in_its_order(whole: bytes) -> None:
    ids = [one.get("id") for one in Reader(whole).of("section")]
    assert ids == [key for key, _, _ in SECTIONS]


def test_it_needs_no_other_file_and_runs_nothing(page: bytes) -> None:
    made = Reader(page)
    for _, attributes in made.tags:
        for name in ("src", "href", "xlink:href", "data", "action"):
            if attributes.get(name) is not None:
                assert str(attributes[name]).startswith(("data:image/jpeg;base64,", "#"))
        assert not any(name.startswith("on") for name in attributes)
    assert {"script", "link", "iframe", "object", "embed", "form"}.isdisjoint(
        tag for tag, _ in made.tags
    )
    assert b"http" not in page.replace(b"http-equiv", b"")
    assert b"@import" not in page
    assert "default-src 'none'" in str(made.of("meta"))


def test_every_picture_has_words_and_numbers_and_every_id_is_unique(page: bytes) -> None:
    made = Reader(page)
    drawn = [one for _, one in made.tags if one.get("role") == "img"]
    figures = made.of("figure")
    assert len(drawn) == len(figures) > 0
    assert all(len(str(one["aria-label"])) > 20 for one in drawn)
    assert all(one["alt"] for one in made.of("img"))
    for figure in re.findall(rb"<figure.*?</figure>", page, re.S):
        assert re.search(rb'<details( open="")?><summary>', figure)
        assert b"<table>" in figure
    ids = Counter(one["id"] for _, one in made.tags if "id" in one)
    assert not [name for name, count in ids.items() if count > 1]
    assert {str(one["href"])[1:] for one in made.of("a")} <= set(ids)


def test_text_in_pictures_stays_text(whole: bytes) -> None:
    shown = " ".join(re.findall(r"<text.*?</text>", whole.decode(), re.S))
    for word in ("class 001", "recall", "predicted class", "probability of the answer", "epoch"):
        assert word in shown


def test_whatever_a_label_says_is_shown_and_not_run() -> None:
    page = of_run(material(classes=5, names=HOSTILE, audit=AUDIT)).data
    made = Reader(page)
    assert not made.of("script")
    assert "<script>alert(1)</script>" in made.text
    assert b"<script" not in page
    assert all("onload" not in one for _, one in made.tags)
    assert "日本\\u202e語" in made.text
    assert b"\x1b" not in page
    assert r"a/\x1b[31mred\n.jpg" in made.text


def test_the_same_material_gives_the_same_bytes(whole: bytes) -> None:
    assert of_run(material()).data == whole


@pytest.mark.parametrize("classes", [2, 150])
def test_any_number_of_classes(classes: int) -> None:
    made = material(classes=classes, count=4 * classes, training=None, advice=None)
    page = of_run(made).data
    told = Reader(page)
    bars = re.search(r'<figure[^>]*id="figure-classes".*?</figure>', page.decode(), re.S)
    assert bars is not None
    rows = re.findall(r'<th scope="row">(class \d+)</th>', bars[0])
    assert len(rows) == classes
    assert len(page) < 600_000
    named = len(re.findall(r"<text[^>]*>(class \d+)  \(\d+\)</text>", bars[0]))
    assert named == min(classes, 40)
    if classes == 150:
        assert "110 more" in told.text
        assert "Top confusions" in told.text
        assert "Not every class is named" in told.text or "4th class is named" in told.text


def test_what_is_not_known_is_left_out() -> None:
    made = material(
        training=None, advice=None, forecast=None, audit=None, seconds=None, validation=None,
        geometry=None,
    )  # fmt: skip
    page = of_run(replace(made, rows=None, hard=(), unsure=(), missing=(), settings=""))
    assert page.told["sections"] == ["accuracy", "plan", "confusion", "classes", "again"]


def test_what_is_missing_is_said() -> None:
    gone = "The pictures are gone."
    made = replace(material(), hard=(), unsure=(), missing=(gone,))
    assert gone in said("examples", made)
    assert said("examples", replace(made, missing=())) == ""


def test_without_a_test_it_says_so_and_shows_no_number() -> None:
    text = said("accuracy", material(test=None, validation=None, forecast=None))
    assert "No accuracy is known" in text
    assert "%" not in text


def test_folds_stand_in_where_nothing_is_held_out() -> None:
    crossed = {"k": 5, "repeats": 3, "n": 90, "accuracy": 0.8125, "accuracy_ci95": [0.75, 0.875]}
    text = said("accuracy", material(test=None, cross_validation=crossed))
    assert "81.2\xa0%" in text
    assert "75.0\xa0% to 87.5\xa0%" in text
    assert "5 folds" in text


def test_no_better_than_guessing_is_a_warning() -> None:
    made = material(classes=2, count=20)
    poor = made.report["test"] | {
        "accuracy": 0.5, "accuracy_ci95": (0.3, 0.7), "confusion": [[5, 5], [5, 5]],
    }  # fmt: skip
    assert "do not rely on this model" in said("accuracy", material(classes=2, count=20, test=poor))
    assert "do not rely on this model" not in said("accuracy", made)


def test_labels_that_the_model_does_not_know_are_named() -> None:
    made = material()
    test = made.report["test"] | {"unknown": {"<dog>": 2}}
    assert "'<dog>' (2)" in said("accuracy", material(test=test))


def test_a_training_that_diverged_is_drawn() -> None:
    broken = [*CURVE[:2], CURVE[2] | {"log_loss": None, "accuracy": None, "train_loss": None}]
    training = {"plan": "finetune", "curve": broken, "stopped": "The loss was no number."}
    made = material(training=training)
    assert "The loss was no number." in said("plan", made)
    assert "The last losses are not finite." in said("overfitting", made)


def test_the_plan_and_the_advice_are_in_words() -> None:
    made = material()
    plan, advice = said("plan", made), said("advice", made)
    assert "the head is solved, then the highest stages learn too" in plan
    assert "learn for up to 5 epochs at a rate of 0.0003" in plan
    assert "Layer4 is best." in plan
    assert "There are many pictures per class." in advice
    assert "large data, different domain: tutorials say to fine-tune everything" in advice
    assert "the advice differs" in advice
    assert "900.0 s" in advice
    assert "too dear" in advice
    assert "0.12 Wh, if a busy processor takes 15 W" in advice
    assert "11.0 s; it took 12.2 s" in advice
    assert "Nothing can be learned here" not in advice
    assert "86.0\xa0%: the forecast held" in said("accuracy", made)


def test_nothing_to_learn_is_said() -> None:
    text = said("advice", material(advice={"learnable": False, "reasons": ["Labels shuffled."]}))
    assert "Nothing can be learned here" in text
    assert "Labels shuffled." in text


def test_how_to_do_it_again() -> None:
    text = said("again", material(run="runs/my photos"))
    assert "regraft fit 'runs/my photos'/run.toml" in text
    assert "apache-2.0" in text
    assert "ab" * 32 in text
    assert "epochs = 5" in text


def test_a_changed_run_is_not_said_to_repeat() -> None:
    changes = [{"kind": "remove", "rows": 3, "test": 1, "notes": ["Scores are older."]}]
    made = replace(material(changes=changes, training=None), settings="changed = true\n")
    told = "remove: 3 pictures to learn from, 1 to test on. Scores are older."
    assert told in said("plan", made)
    assert "does not repeat it" in said("again", made)
    assert "regraft fit runs" not in said("again", made)


def test_a_comparison_names_the_best_and_who_is_not_worse() -> None:
    page = Reader(comparison_html(comparison()))
    assert "90.0\xa0%" in page.text
    assert "different from the best: probe. probe is the cheapest of them (1.5 s)." in page.text
    assert "mine: There is no such stage." in page.text
    assert "full: the budget left out seeds 0, 1" in page.text
    assert "There are few test pictures." in page.text
    assert "+12.5 points" in page.text
    assert "25.0\xa0%" in page.text


def test_a_comparison_with_little_known() -> None:
    arms = [{"plan": "probe", "accuracy": 0.5}, {"plan": "lpft", "accuracy": 0.4}]
    page = Reader(comparison_html({"data": "x", "arms": arms}))
    assert "50.0\xa0%" in page.text
    none = Reader(comparison_html({"data": "x", "arms": [{"plan": "a", "error": "No."}]}))
    assert "No plan could be run." in none.text


def test_many_classes_have_a_heat_map_and_the_top_confusions_beside_it() -> None:
    made = material(classes=30, count=120, training=None, advice=None)
    page = str(SECTION["confusion"](made))
    counts = np.array(made.report["test"]["confusion"])
    squares = re.findall(r'<path d="([^"]*)"[^>]*fill: var\(--(accent|bad)', page)
    assert {colour for _, colour in squares} == {"accent", "bad"}
    drawn = sum(path.count("M") for path, _ in squares)
    assert drawn == np.count_nonzero(counts)
    rows = re.findall(r'<th scope="row">(class \d+)</th><td>(class \d+)</td><td>(\d+)', page)
    assert len(rows) == np.count_nonzero(counts - np.diag(np.diagonal(counts)))
    assert int(rows[0][2]) == (counts - np.diag(np.diagonal(counts))).max()
    assert '<details open=""><summary>Top confusions' in page
    few = str(SECTION["confusion"](material(classes=5, count=60)))
    assert "<caption>Top confusions</caption>" in few


def test_names_that_differ_in_the_middle_are_told_apart() -> None:
    names = [f"a species with the number {n:02} of many kinds" for n in range(20)]
    made = distinct(names, 18)
    assert len(set(made)) == 20
    assert made[3] == "…03…"
    assert distinct(["ant", "bee"]) == ["ant", "bee"]


def test_it_says_when_it_was_made_and_folds_the_settings() -> None:
    page = of_run(material(date="2026-11-27T19:54:49+00:00")).data.decode()
    assert '<time datetime="2026-11-27T19:54:49+00:00">2026-11-27 19:54 UTC</time>' in page
    assert "<time" not in of_run(material()).data.decode()
    assert "<details><summary>run.toml</summary><pre>" in page


def test_more_top_losses_are_folded_and_every_picture_can_be_enlarged() -> None:
    made = material()
    page = str(SECTION["examples"](replace(made, hard=made.hard * 20)))
    assert "<summary>12 more</summary>" in page
    assert page.count("<img") == page.count('<span class="zoom" tabindex="0"><img') == 2 * 21
    assert ".zoom:focus img" in of_run(made).data.decode()
