import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.reports.slide_report import flatten, total_seconds, write_slide_report
from tests.reports.builder import CODES, make_slide
from tests.reports.pagereader import Page


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "diagnosis.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_it_writes_map_pie_and_report_and_nothing_else(tmp_path: Path) -> None:
    folder = make_slide(tmp_path, evidence=False)
    before = {path.name for path in folder.iterdir()}
    assert write_slide_report(folder) == folder / "report.html"
    assert {path.name for path in folder.iterdir()} - before == {"map.png", "pie.png", "report.html"}
    first = (folder / "report.html").read_bytes()
    write_slide_report(folder)
    assert (folder / "report.html").read_bytes() == first


def test_the_answer_comes_first_and_the_notice_at_both_ends(ups: Path) -> None:
    page, record = Page(ups / "report.html"), read_diagnosis(ups / "diagnosis.json")
    assert page.text.count(record.notice) == 2
    assert page.text.index(record.notice) < page.text.index("UPS by 61.1% of 234 tiles; runner-up DDLPS 28.2%")
    assert page.text.rindex(record.notice) > page.text.index("Provenance")
    assert "synthetic phantom" in record.notice
    order = ["UPS by", "Refined rule", "WDLPS component", "Where on the slide", "What the tiles say", "Microns"]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)


def test_its_numbers_are_the_records(changed: Path) -> None:
    page, record = Page(changed / "report.html"), read_diagnosis(changed / "diagnosis.json")
    total = record.tiles.kept
    for item in record.classes:
        count, after, mean = (
            record.votes[item.code],
            record.refined.votes[item.code],
            record.mean_probability[item.code],
        )
        row = f"{item.code} {item.name} {count} {count / total:.1%} {after} {after / total:.1%} {mean:.1%}"
        assert row in page.text
        assert f"{item.code} {count} · {count / total:.1%} {item.name}" in page.text
    assert f"Planned {record.tiles.planned} " in page.text
    assert f"Kept, these vote {total} " in page.text
    assert record.refined.reason in page.text
    assert "Changed to DDLPS" in page.text
    assert "Present beside DDLPS: 29.9% of tiles" in page.text
    assert "7.8 \N{MULTIPLICATION SIGN} 5.2 mm" in page.text
    assert "b" * 64 in page.text
    assert "computed in 41 s" in page.text


def test_it_is_one_self_contained_file(ups: Path) -> None:
    page = Page(ups / "report.html")
    pictures = page.all("img")
    assert len(pictures) == 4 + 3 * 4
    for attributes in pictures:
        assert attributes["alt"]
        kind, content = re.fullmatch(r"data:image/(\w+);base64,(.+)", attributes["src"]).groups()  # type: ignore[union-attr]
        with Image.open(BytesIO(base64.b64decode(content)), formats=[kind.upper()]) as image:
            image.load()
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.findall(r"url\(|@import|https?://", page.source)


@pytest.mark.parametrize(("shape", "longest"), [((30, 20), 900), ((3, 60), 700), ((90, 7), 2048)])
def test_tissue_tiles_and_scale_bar_are_images_of_one_size(
    tmp_path: Path, shape: tuple[int, int], longest: int
) -> None:
    page = Page(write_slide_report(make_slide(tmp_path, shape=shape, thumbnail_longest=longest, evidence=False)))
    layers = {item["id"]: item["src"] for item in page.all("img") if "id" in item}
    assert list(layers) == ["tissue", "tiles", "bar"]
    sizes = set()
    for source in layers.values():
        with Image.open(BytesIO(base64.b64decode(source.split(",")[1]))) as image:
            sizes.add(image.size)
    assert len(sizes) == 1


def test_its_policy_allows_our_style_and_script_alone(ups: Path) -> None:
    page = Page(ups / "report.html")
    policy = next(item["content"] for item in page.all("meta") if "http-equiv" in item)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_headings_descend_and_tables_have_scopes(ups: Path) -> None:
    page = Page(ups / "report.html")
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") in {"row", "col"} for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("html")[0]["lang"] == "en"


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}&amp;$x_1$"


def test_hostile_text_is_inert_wherever_it_stands(tmp_path: Path) -> None:
    folder = make_slide(tmp_path, HOSTILE, folder_name="hostile", warnings=(HOSTILE,))

    def poison(value: dict[str, Any]) -> None:
        value["notice"] = value["mpp_source"] = value["refined"]["reason"] = HOSTILE
        value["provenance"] = {HOSTILE: [HOSTILE, {"a": HOSTILE}]}
        value["classes"][3]["name"] = HOSTILE

    edit(folder, poison)
    page = Page(write_slide_report(folder))
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 4 + 3 * 4
    assert "alert" not in re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)[0]
    assert page.text.count(HOSTILE) >= 9
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_undetermined_says_why(tmp_path: Path) -> None:
    folder = make_slide(tmp_path, shape=(6, 5), mix={"UPS": 1.0})
    page = Page(write_slide_report(folder))
    kept = read_diagnosis(folder / "diagnosis.json").tiles.kept
    assert f"Undetermined: {kept} tiles kept, at least 20 needed" in page.text
    assert 0 < kept < 20


def test_a_class_known_at_tile_level_only_is_undetermined(tmp_path: Path) -> None:
    page = Page(write_slide_report(make_slide(tmp_path, mix={"MPNST": 1.0}, evidence=False)))
    assert "Undetermined: most frequent label is MPNST" in page.text


def test_without_tiles_it_is_a_whole_report(empty: Path) -> None:
    page = Page(empty / "report.html")
    assert "Undetermined: 0 tiles kept, at least 20 needed" in page.text
    assert "Planned 0 " in page.text
    assert "Most confident tiles" not in page.text
    assert (empty / "map.png").stat().st_size > 0


def test_warnings_about_the_scale_stand_in_the_answer_and_in_full(tmp_path: Path) -> None:
    warning = "0.25 um/px does not fit an objective of 20x"
    page = Page(write_slide_report(make_slide(tmp_path, warnings=(warning,), evidence=False)))
    assert "Check the scale: 1 warning" in page.text
    assert f"Warning: {warning}" in page.text


NEEDED = ["diagnosis.json", "tiles.parquet", "thumbnail.jpg", "evidence/UPS-1.jpg"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[(name, None) for name in NEEDED],
        *[(name, b"") for name in (*NEEDED, "evidence/evidence.json")],
        *[(name, b"\xff\xd8\xff\xe0 not what it seems") for name in (*NEEDED, "evidence/evidence.json")],
    ],
)
def test_a_missing_or_damaged_artefact_is_named_in_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = make_slide(tmp_path)
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        write_slide_report(folder)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()
    assert not (folder / "map.png").exists()


def test_tiles_of_another_run_are_refused(tmp_path: Path) -> None:
    folder, other = make_slide(tmp_path, "a"), make_slide(tmp_path, "b", shape=(20, 20))
    (folder / "tiles.parquet").write_bytes((other / "tiles.parquet").read_bytes())
    with pytest.raises(ArtifactError, match=r"does not hold the tiles that diagnosis\.json counts"):
        write_slide_report(folder)


def test_a_colour_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = make_slide(tmp_path, evidence=False)
    edit(folder, lambda value: value["classes"][0].update(color='red"/>'))
    with pytest.raises(ArtifactError, match="class DDLPS: colour"):
        write_slide_report(folder)


def test_other_classes_than_the_diagnosis_are_refused(tmp_path: Path) -> None:
    folder = make_slide(tmp_path, evidence=False)
    edit(folder, lambda value: value["classes"].reverse())
    with pytest.raises(ArtifactError, match=f"holds classes {', '.join(CODES)}"):
        write_slide_report(folder)


@pytest.mark.parametrize("file", ["../thumbnail.jpg", "/etc/passwd", "a/b.jpg", "..\\x.jpg", ".hidden.jpg"])
def test_evidence_stays_in_its_folder(tmp_path: Path, file: str) -> None:
    folder = make_slide(tmp_path)
    entry = {"file": file, "code": "UPS", "row": 0, "column": 0, "probability": 0.9}
    (folder / "evidence" / "evidence.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(ArtifactError, match="not a list of evidence tiles"):
        write_slide_report(folder)


def test_provenance_is_flattened_in_its_order() -> None:
    value = {"b": {"x": 1, "y": [1, 2]}, "a": [{"n": None}, "t"], "e": {}}
    dash = "\N{EN DASH}"
    assert flatten(value) == [("b.x", "1"), ("b.y", "1, 2"), ("a[0].n", dash), ("a[1]", "t"), ("e", dash)]


def test_the_time_is_the_total_or_the_sum_of_the_steps(ups: Path) -> None:
    record = read_diagnosis(ups / "diagnosis.json")
    assert total_seconds(record) == 40.75
    assert total_seconds(record.model_copy(update={"provenance": {"timings": {"read": 1.0, "total": 3.0}}})) == 3.0
    assert total_seconds(record.model_copy(update={"provenance": {}})) is None
    assert total_seconds(record.model_copy(update={"provenance": {"timings": {}}})) is None


def test_reports_start_without_torch_onnxruntime_and_openslide() -> None:
    code = (
        "import sys, sarcoscope.reports.slide_report, sarcoscope.reports.index; "
        "print([n for n in ('torch', 'onnxruntime', 'openslide', 'tifffile', 'matplotlib.pyplot') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
