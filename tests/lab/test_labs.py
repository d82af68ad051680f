"""Every lab's claim holds here, its figures can be read by a machine, and its page shows them."""

import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import chainrule as cr
from chainrule import lab
from chainrule.lab import pages, style

NAMES = lab.names()
SENTENCE = re.compile(r"[.!?](?=\s|$)")


@pytest.mark.parametrize("name", NAMES)
def test_the_claim_holds_and_the_page_shows_it(name, tmp_path, monkeypatch):
    # One test a lab, so that each is measured and drawn once.
    drawn = []
    monkeypatch.setattr(
        pages, "picture", lambda *given, picture=pages.picture: drawn.append(picture(*given)) or drawn[0]
    )
    result = lab.run(name, out=tmp_path)
    assert [sentence for sentence, true in result.measured.checks.items() if not true] == []
    assert result.holds
    check_words(result.lab)
    check_figures(result)
    check_axes(drawn[0])
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.html"]
    check_page(result)


def check_words(found):
    assert re.fullmatch(r"[A-H]\d*(–[A-H]\d+)?(, [A-H]\d+(–[A-H]?\d+)?)*", found.row), found.row
    assert SENTENCE.search(found.claim)
    assert 2 <= len(SENTENCE.findall(found.look)) <= 3
    assert len(found.look) > 100


def check_figures(result):
    plain = json.loads(json.dumps(result.json(), allow_nan=False))
    assert set(plain) == {"name", "claim", "figures", "holds"}
    assert plain["holds"] is True
    numbers = [value for value in flat(plain["figures"].values()) if not isinstance(value, str)]
    assert len(numbers) >= 3
    assert all(math.isfinite(value) for value in numbers)
    assert all(isinstance(true, (bool, np.bool_)) for true in result.measured.checks.values())


def flat(values):
    for value in values:
        yield from flat(value) if isinstance(value, list) else [value]


def check_axes(figure):
    assert figure.axes
    assert len(style.describe_figure(figure)) > 30
    # Axes side by side that show the same curves may share a legend.
    legends = [set(axes.get_legend_handles_labels()[1]) for axes in figure.axes if axes.get_legend()]
    for axes in figure.axes:
        words = [axes.get_xlabel(), axes.get_ylabel()]
        # A drawing of boxes has no axes; the scale beside a map has one.
        needed = 0 if not axes.axison else 1 if hasattr(axes, "_colorbar") else 2
        assert sum(bool(word) for word in words) >= needed, (axes.get_title(), words)
        curves = set(axes.get_legend_handles_labels()[1])
        assert len(curves) < 2 or any(curves <= explained for explained in legends), axes.get_title()


class Parts(HTMLParser):
    """The text of a page, its pictures, and whether every element is closed."""

    def __init__(self):
        super().__init__()
        self.words, self.pictures, self.open, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    parts = Parts()
    parts.feed(path.read_text(encoding="utf-8"))
    assert parts.open == []
    return parts


def check_page(result):
    from matplotlib.image import imread

    parts = read(result.page)
    text = "".join(parts.words)
    wanted = [
        result.lab.claim,
        result.lab.look,
        "The claim holds here.",
        f"chainrule lab {result.name}",
        result.lab.row,
    ]
    assert [words for words in [*wanted, *result.measured.checks, *result.measured.figures] if words not in text] == []
    (picture,) = parts.pictures
    assert len(picture["alt"]) > 30
    assert all(link.startswith("data:") for link in parts.links)
    pixels = imread(io.BytesIO(base64.b64decode(picture["src"].partition("base64,")[2])))[..., :3]
    assert min(pixels.shape[:2]) > 300
    assert 0.01 < np.mean(pixels < 0.9) < 0.9


# ---- the framework


def test_every_section_of_the_list_that_has_labs_is_in_order():
    places = [lab.load(name).row for name in NAMES]
    assert [row[0] for row in places] == sorted(row[0] for row in places)
    assert NAMES.index("graph-reversal") < NAMES.index("dag") < NAMES.index("data-dependent") < NAMES.index("fan-out")


def test_an_unknown_name_is_refused_with_the_nearest_first():
    with pytest.raises(cr.errors.ArgumentError, match="expected one of 'fan-out', "):
        lab.run("fan_out")


@pytest.mark.parametrize("name", ["fan-out", "graph-reversal", "module-gradients"])
def test_a_lab_measures_the_same_whatever_ran_before(name):
    found = []
    for seed in (1, 2):
        cr.seed(seed)
        np.random.seed(seed)  # a lab must not use the global generator
        found.append(json.dumps(lab.run(name).json()))
    assert found[0] == found[1]


def test_the_verdict_comes_from_the_checks_alone():
    assert lab.Measured({}, {"a": True, "b": True}).holds
    assert not lab.Measured({}, {"a": True, "b": False}).holds
    assert not lab.Measured({}, {}).holds
    assert not hasattr(lab.load("fan-out"), "holds")


def test_the_page_of_a_claim_that_fails_says_so(tmp_path):
    found = lab.load("fan-out")
    measured = lab.Measured({"a <b>": 1.5, "many": [1, 2]}, {"this & that": True, "the other": False})
    path = pages.write_lab_page(pages.lab_page("fan-out", found, measured, style.new_figure()), tmp_path, "fan-out")
    text = "".join(read(path).words)
    assert "The claim does not hold here: 1 of 2 checks failed." in text
    assert "this & that" in text
    assert "a <b>" in text
    assert path.read_text().count('class="no"') == 2


def test_what_is_not_finite_is_none_in_json():
    found = lab.Result("x", lab.load("fan-out"), lab.Measured({"a": np.float32("nan"), "b": [1.0, math.inf]}, {}), 0.0)
    assert found.json()["figures"] == {"a": None, "b": [1.0, None]}


def test_the_index_lists_every_lab_and_links_to_it(tmp_path):
    rows = [(name, lab.load(name), name != "dag") for name in NAMES]
    parts = read(pages.write_lab_page(pages.index_page(rows), tmp_path, "index"))
    text = "".join(parts.words)
    assert sorted(parts.links) == sorted(f"{name}.html" for name in NAMES)
    assert f"{len(NAMES) - 1} of {len(NAMES)} claims hold" in text
    assert all(lab.load(name).claim in text for name in NAMES)


def test_a_page_that_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(cr.errors.RunError, match="No space left on device"):
        lab.run("fan-out", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_curves_without_colour_are_still_told_apart():
    looks = [style.look(n) for n in range(14)]
    assert len({(look["marker"], str(look["linestyle"])) for look in looks}) == 14
