import re
from pathlib import Path

import pytest

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.truth import Truth
from sarcoscope.reports.index import write_index
from tests.reports.builder import make_slide
from tests.reports.pagereader import Page


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    make_slide(folder, "ups", evidence=False)
    make_slide(folder, "changed", mix={"WDLPS": 0.3, "DDLPS": 0.3, "UPS": 0.4}, evidence=False)
    make_slide(folder, "few", shape=(6, 5), mix={"UPS": 1.0}, evidence=False)
    make_slide(folder, "a b#<i>&?%.x", mix={"LMS": 1.0}, evidence=False, warnings=("odd",))
    return folder


TRUTHS = {
    "ups": Truth(label="UPS"),
    "changed": Truth(label="DDLPS", components=("WDLPS",)),
    "few": Truth(label="UPS"),
    "lost": Truth(label="LMS"),
}


def test_slides_stand_in_the_given_order_with_links_to_their_reports(out: Path) -> None:
    slides = ["few", "a b#<i>&?%.x", "ups"]
    page = Page(write_index(out, slides, title="Three slides"))
    links = [item["href"] for item in page.all("a")]
    assert links[::2] == ["few/report.html", "a%20b%23%3Ci%3E%26%3F%25.x/report.html", "ups/report.html"]
    assert "3 slides diagnosed, 1 of them undetermined; 2 min 02 s of computing." in page.text
    assert "a b#<i>&?%.x" in page.text
    assert not page.all("i")
    assert "check" in page.text
    assert "Against the truth" not in page.text
    assert all(item["src"].startswith("data:image/jpeg;base64,") for item in page.all("img"))


def test_truths_are_scored_in_words_and_colour(out: Path) -> None:
    page = Page(
        write_index(
            out,
            ["ups", "changed", "few", "a b#<i>&?%.x"],
            title="Scored",
            truths=TRUTHS,
            failures={"lost": "lost.svs: cannot be read; <b>check</b> the file"},
        )
    )
    assert "Plain vote 1 of 3 slides 33.3% right, 95% interval 6.1% to 79.2%" in page.text
    assert "Refined rule 2 of 3 slides 66.7% right, 95% interval 20.8% to 93.9%" in page.text
    assert "1 failed slide with a known truth is not counted" in page.text
    marks = [item["class"] for item in page.all("span") if "mark" in item.get("class", "")]
    assert marks == ["mark right", "mark right", "mark wrong", "mark right", "mark wrong", "mark wrong"]
    assert page.text.count("right ") >= 3
    assert "not known" in page.text
    assert "DDLPS with WDLPS" in page.text
    assert "lost.svs: cannot be read; <b>check</b> the file" in page.text
    assert "Truth DDLPS LMS MPNST UPS WDLPS undetermined DDLPS 0 0 0 1 0 0 UPS 0 0 0 1 0 1" in page.text
    assert "DDLPS 1 0 0 0 0 0 UPS 0 0 0 1 0 1" in page.text


def test_its_policy_forbids_scripts_and_requests(out: Path) -> None:
    page = Page(write_index(out, ["ups"], title="<script>alert(1)</script>"))
    policy = next(item["content"] for item in page.all("meta") if "http-equiv" in item)
    assert "script-src 'none'" in policy
    assert not page.all("script")
    assert not re.findall(r"url\(|@import|https?://", page.source)
    assert "Not a clinical result" in page.text


def test_without_a_slide_it_still_says_what_failed(tmp_path: Path) -> None:
    page = Page(write_index(tmp_path, [], title="None", truths=TRUTHS, failures={"x": "x.svs: is empty"}))
    assert "0 slides diagnosed; 1 failed." in page.text
    assert "x x.svs: is empty" in page.text
    assert "Research use only" in page.text
    assert "Against the truth" not in page.text


def test_a_slide_without_artefacts_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gone.diagnosis\.json: cannot be read"):
        write_index(tmp_path, ["gone"], title="Gone")
    assert not (tmp_path / "index.html").exists()
