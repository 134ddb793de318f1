"""The report of a study: its page in a browser, its PDF, and what lies beside them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.evaluation import Evaluation
from sarcoscope.formats.atomic import write_text
from sarcoscope.reports.study_blocks import Figure, Section, StudyReport, Table, Text
from sarcoscope.reports.study_choice import best_model
from sarcoscope.reports.study_drawing import ABSENT, drawable
from sarcoscope.reports.study_facts import read_facts
from sarcoscope.reports.study_page import make_report, study_page, write_study_report
from sarcoscope.reports.study_pdf import study_pdf
from sarcoscope.reports.study_pictures import pie_figures
from sarcoscope.reports.study_sections import sections
from sarcoscope.reports.study_slides import decision_table
from sarcoscope.reports.study_tables import patch_tables, slide_tables
from tests.reports.builder import make_slide
from tests.reports.evaluation_made import MODELS, NOTICE, ask, make_evaluation, make_search, model, words
from tests.reports.pagereader import Page
from tests.reports.study_made import Made, full_study, study_of
from tests.reports.test_browser import HOSTILE, chromium, open_page

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    study, evaluation = full_study(tmp_path_factory.mktemp("study") / "s")
    return Made(study=study, evaluation=evaluation, page=write_study_report(study))


@pytest.fixture(scope="module")
def page(made: Made) -> Page:
    return Page(made.page)


def pages_of(pdf: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(pdf)
    return [" ".join(one.get_textpage().get_text_range().split()) for one in document]


def test_what_is_written(made: Made) -> None:
    folder = made.page.parent
    assert made.page == made.study.out / "report" / "index.html"
    assert sorted(one.name for one in folder.iterdir()) == ["figures", "index.html", "report.pdf", "tables"]
    names = {one.name for one in (folder / "tables").iterdir()}
    assert {"patch.csv", "slides_test1.csv", "slides_test2.csv", "decisions.csv", "published_slides.csv"} <= names
    assert "Not a clinical result." in (folder / "tables" / "NOTICE.txt").read_text(encoding="utf-8")
    for one in (folder / "figures").iterdir():
        with Image.open(one) as image:
            image.verify()
    assert made.page.stat().st_size < 15e6


def test_numbers_of_the_page_are_those_of_the_evaluation(made: Made, page: Page) -> None:
    for one in made.evaluation.patch:
        if one.part is Part.TEST:
            for estimate in (*one.per_class.values(), one.overall, one.balanced_accuracy, one.macro_f1):
                assert estimate.value is not None
                assert estimate.low is not None
                assert estimate.high is not None
                cell = f"{estimate.value:.1%} {100 * estimate.low:.1f}\N{EN DASH}{100 * estimate.high:.1f}"
                assert cell in page.text
    for found in made.evaluation.slide:
        if found.part is not Part.VALIDATION and not next(m for m in MODELS if m.name == found.model).of:
            assert f"{found.overall.right} of {found.overall.n} {found.overall.value:.1%}" in page.text
    for pair in made.evaluation.comparisons:
        if pair.part is Part.TEST1 and pair.way == "refined" and "EfficientNetB7" in {pair.one, pair.other}:
            assert f"{pair.both} " in page.text


def test_every_slide_of_the_tests_stands_with_its_reason(made: Made, page: Page) -> None:
    best = made.evaluation.models[1].name if "By MultiV1-concentric." in page.text else made.evaluation.models[0].name
    decided = [one for one in made.evaluation.decisions if one.model == best and one.part is not Part.VALIDATION]
    assert len(decided) == 99
    for one in decided:
        assert f" {one.slide} " in page.text
        assert (one.undetermined or one.refined_reason) in page.text
    assert "DDLPS or UPS MDM2/CDK4 FISH [1]" in page.text or "UPS or DDLPS MDM2/CDK4 FISH [1]" in page.text
    assert "Sources: [1] WHO 2020" in page.text


def test_synthetic_and_not_clinical_above_and_below_and_in_pictures(page: Page) -> None:
    assert page.text.count(f"Not a clinical result. {NOTICE}") == 2
    assert page.text.index("Not a clinical result.") < page.text.index("Summary")


def test_the_summary_comes_first_and_all_sections_can_be_reached(page: Page) -> None:
    ids = [one["id"] for one in page.all("section")]
    assert ids[0] == "summary"
    assert ids == ["summary", "cohort", "models", "tiles", "search", "slides", "sweep", "uncertainty", "decisions",
                   "examples", "cam", "training", "methods", "files"]  # fmt: skip
    links = [one["href"].removeprefix("#") for one in page.all("a") if one["href"].startswith("#")]
    assert set(ids) <= set(links)


def test_all_pictures_say_in_words_what_they_show(page: Page) -> None:
    pictures = page.all("img")
    assert len(pictures) >= 14
    assert all(len(one["alt"]) > 20 for one in pictures)
    assert all(one["src"].startswith("data:image/") for one in pictures)
    assert all(int(one["width"]) > 0 and int(one["height"]) > 0 for one in pictures)


def test_links_lead_to_files_that_are_there(made: Made, page: Page) -> None:
    files = {one["href"] for one in page.all("a") if not one["href"].startswith("#")}
    assert "report.pdf" in files
    assert len(files) >= 14
    assert all((made.page.parent / one).is_file() for one in files)


def test_the_pdf_has_the_notice_and_its_number_on_every_page(made: Made) -> None:
    pages = pages_of((made.page.parent / "report.pdf").read_bytes())
    assert len(pages) > 8
    for place, text in enumerate(pages, start=1):
        assert text.count(f"Not a clinical result. {NOTICE}") >= 2  # head and foot; the font has all of its letters
        assert f"page {place} of {len(pages)}" in text
    whole = " ".join(pages)
    for one in made.evaluation.patch:
        if one.part is Part.TEST:
            assert f"{one.balanced_accuracy.value:.1%}" in whole
    assert "test2-042" in whole
    assert ABSENT not in whole


def test_the_pdf_has_bookmarks_contents_and_a_title(made: Made) -> None:
    document = pypdfium2.PdfDocument((made.page.parent / "report.pdf").read_bytes())
    marks = [one.get_title() for one in document.get_toc()]
    assert marks[0] == "Summary"
    assert marks[-1] == "Methods"
    assert len(marks) == 13
    assert document.get_metadata_value("Title") == "A study of phantoms"
    assert NOTICE in document.get_metadata_value("Subject")
    pages = pages_of((made.page.parent / "report.pdf").read_bytes())
    contents = next(text for text in pages if "Contents" in text)
    for one in document.get_toc():
        place = one.get_dest().get_index()
        assert one.get_title() in pages[place]
        assert re.search(rf"{one.get_title()}[ .]+{place + 1}\b", contents)


def tables_report(evaluation: Evaluation, study_folder: Path) -> StudyReport:
    """Only the tables, which is where many models and slides take room."""
    facts = read_facts(study_of(study_folder, evaluation))
    blocks: tuple[Table, ...] = (*patch_tables(evaluation, Part.TEST), *slide_tables(evaluation, Part.TEST1, "2"),
                                 decision_table(facts))  # fmt: skip
    return StudyReport(title="Many \N{CJK UNIFIED IDEOGRAPH-8089}", notices=(NOTICE,), lead="",
                       sections=(Section(id="t", title="Tables", short="T", blocks=blocks),))  # fmt: skip


def test_many_models_classes_and_slides_fit_and_headings_repeat(tmp_path: Path) -> None:
    many = make_evaluation(
        ask(models=tuple(model(f"Network number {place} of a long name", 1 + place % 3) for place in range(9)),
            classes=words(12, long=True), slides={Part.VALIDATION: 5, Part.TEST1: 120, Part.TEST2: 5})
    )  # fmt: skip
    report = tables_report(many, tmp_path)
    pdf = study_pdf(report)
    assert pdf == study_pdf(report)  # invariant
    pages = pages_of(pdf)
    decided = [text for text in pages if "test set 1, p0" in text]
    assert len(decided) > 4
    assert all("Tiles and their labels" in text for text in decided)
    assert all(f"test1-{place:03d}" in " ".join(pages) for place in range(1, 121))
    assert f"Many {ABSENT}" in pages[0]
    html = study_page(report)
    assert "Many \N{CJK UNIFIED IDEOGRAPH-8089}" in html


def test_nothing_but_an_evaluation_is_enough(tmp_path: Path) -> None:
    bare = make_evaluation(
        ask(models=MODELS[:1], parts=(Part.VALIDATION, Part.TEST1), regression=False, sets=False, intervals=False)
    )
    report = make_report(read_facts(study_of(tmp_path, bare)))
    ids = [one.id for one in report.sections]
    assert ids == ["summary", "cohort", "models", "tiles", "slides", "sweep", "decisions", "methods"]
    assert "uncertainty" not in study_page(report)
    assert pages_of(study_pdf(report))


def test_an_evaluation_of_slides_alone_or_of_tiles_alone(tmp_path: Path) -> None:
    full = make_evaluation(ask(models=MODELS[:1], parts=(Part.TEST1,), sets=False))
    slides = make_report(read_facts(study_of(tmp_path / "a", replace(full, patch=()))))
    assert "tiles" not in [one.id for one in slides.sections]
    tiles = make_report(read_facts(study_of(tmp_path / "b", replace(full, slide=(), decisions=(), sweeps=()))))
    ids = [one.id for one in tiles.sections]
    assert "tiles" in ids
    assert not {"slides", "decisions", "sweep"} & set(ids)
    study_page(tiles)


def test_a_best_model_without_scored_slides_and_first_models_without_tiles(tmp_path: Path) -> None:
    evaluation = make_evaluation(ask(models=tuple(model(f"model-{place}") for place in range(8))))
    first = {one.name for one in evaluation.models[:7]}
    bare = replace(
        evaluation,
        patch=tuple(one for one in evaluation.patch if one.model not in first or one.part is Part.VALIDATION),
        slide=tuple(one for one in evaluation.slide if one.model != best_model(evaluation).name),
    )
    assert best_model(bare) == best_model(evaluation)
    found = sections(read_facts(study_of(tmp_path, bare)), NOTICE)
    figures = {one.name: one for section in found for one in section.blocks if isinstance(one, Figure)}
    assert "slides_confusion.png" not in figures
    assert "model-7 tells right" in figures["figure5_confusion.png"].alt
    assert "The first 6" not in figures["figure5_confusion.png"].caption


def test_a_single_combination_is_not_said_to_be_the_best_of_many(tmp_path: Path) -> None:
    facts = read_facts(study_of(tmp_path, make_evaluation(ask(models=MODELS[:1]))))
    for count, said in ((1, True), (3, False)):
        (section,) = [one for one in sections(replace(facts, searches=(make_search(count),)), NOTICE)
                      if one.id == "search"]  # fmt: skip
        (words_of,) = [one.words for one in section.blocks if isinstance(one, Text)]
        assert ("there is only one combination, and none to compare it with" in words_of) is said
        assert ("cannot be told from the best" not in words_of) is said
        assert ("luck" not in words_of) is said


def test_a_verdict_names_the_refined_rule_only_where_there_is_one(tmp_path: Path) -> None:
    evaluation = make_evaluation(ask(models=MODELS[:1]))
    slides = {"test1-001": make_slide(tmp_path, "test1-001", evidence=False)}
    facts = read_facts(study_of(tmp_path, evaluation, slides=slides))
    assert "After the refined rule: " in pie_figures(facts)[0].caption
    ((slide, artefacts),) = facts.examples
    refined = artefacts.record.refined.model_copy(
        update={"reason": "the bundle declares no refined rule", "applied": False, "label": artefacts.record.label}
    )
    record = artefacts.record.model_copy(update={"refined": refined})
    bare = replace(facts, examples=((slide, replace(artefacts, record=record)),))
    assert "refined rule" not in pie_figures(bare)[0].caption
    assert pie_figures(bare)[0].caption.startswith("test1-001. Truth: ")


def test_a_set_of_both_of_two_classes_is_one_that_cannot_be_separated(tmp_path: Path) -> None:
    """With two scored classes both mean what three of three do not: the tests that would decide are named."""
    evaluation = make_evaluation(ask(models=MODELS[:1], classes=words(2), unscored=(), pooled=()))
    codes = tuple(one.code for one in evaluation.classes)
    decisions = tuple(replace(one, set_classes=codes, tests=(("FISH", "WHO"),)) for one in evaluation.decisions)
    table = decision_table(read_facts(study_of(tmp_path, replace(evaluation, decisions=decisions))))
    assert {row[-1].text.removesuffix("; unlike the training slides") for row in table.rows} == {" or ".join(codes)}
    assert {row[-1].sub for row in table.rows} == {"FISH [1]"}


def test_real_slides_are_not_called_synthetic_but_research_use(tmp_path: Path) -> None:
    real = replace(make_evaluation(ask(models=MODELS[:1], parts=(Part.TEST1,), synthetic=False)), patch=())
    report = make_report(read_facts(study_of(tmp_path, real)))
    assert report.notices == ("Research use only, not a medical device.",)
    assert "phantom" not in " ".join(pages_of(study_pdf(report))).replace("A study of phantoms", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    study = study_of(tmp_path, make_evaluation(ask(models=MODELS[:1], parts=(Part.TEST1,))))
    with pytest.raises(ArtifactError, match=r"gone\.json"):
        write_study_report(replace(study, searches=(tmp_path / "gone.json",)))
    with pytest.raises(ArtifactError, match=r"curves\.png"):
        write_study_report(replace(study, curves={"m": tmp_path / "curves.png"}))
    assert not (tmp_path / "report").exists()


def test_nothing_of_an_earlier_report_is_left(tmp_path: Path) -> None:
    evaluation = make_evaluation(ask(models=MODELS[:1], parts=(Part.TEST1,), sets=False))
    study = study_of(tmp_path, replace(evaluation, patch=(), decisions=()))
    write_text(tmp_path / "report" / "tables" / "slides_test2.csv", "old")
    write_text(tmp_path / "report" / "figures" / "coverage.png", "old")
    write_text(tmp_path / "report" / "notes.md", "mine")
    write_study_report(study)
    assert not (tmp_path / "report" / "tables" / "slides_test2.csv").exists()
    assert not (tmp_path / "report" / "figures" / "coverage.png").exists()
    assert (tmp_path / "report" / "tables" / "slides_test1.csv").is_file()
    assert (tmp_path / "report" / "notes.md").is_file()


def test_letters_that_the_font_lacks_are_shown_as_squares() -> None:
    assert drawable("UPS \N{CJK UNIFIED IDEOGRAPH-8089}\n$x$") == f"UPS {ABSENT}\n$x$"


def test_a_browser_shows_it_without_an_error_or_a_request(chromium: str, made: Made, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    done = open_page(chromium, made.page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "CONSOLE" not in done.stderr
    assert "http" not in made.page.read_text(encoding="utf-8").split("</style>")[1].split("data:image")[0]


def test_hostile_names_stay_text(chromium: str, tmp_path: Path) -> None:
    evaluation = make_evaluation(ask(models=(model(HOSTILE),), parts=(Part.TEST1,)))
    study = study_of(tmp_path / "s", replace(evaluation, patch=(), data=HOSTILE), title=HOSTILE)
    report = make_report(read_facts(study))
    page, log = tmp_path / "page.html", tmp_path / "net.json"
    page.write_text(study_page(report), encoding="utf-8")
    done = open_page(chromium, page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "<title>&lt;script&gt;" in done.stdout
    assert "example.invalid" not in log.read_text(encoding="utf-8")
    assert pages_of(study_pdf(report))


def test_nothing_is_wider_than_the_window_and_print_cuts_no_table(made: Made) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium found: widths were not measured")
    wide = """[...document.querySelectorAll('main *')].filter(
        e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, nav, .picture')).length"""
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for width in (1280, 400):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.goto(made.page.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate(wide) == 0
        printed = pages_of(tab.pdf(prefer_css_page_size=True))
        browser.close()
    assert all("Not a clinical result." in text for text in printed)
    decided = [text for text in printed if "test set 2, p0" in text]
    assert all("Cannot be told apart" in text for text in decided)  # the heading repeats
    assert all("Undet." in text for text in printed if "Table 2." in text)  # nor is its last column cut off


def test_pictures_carry_the_notice_themselves(made: Made) -> None:
    picture = made.page.parent / "figures" / "figure5_confusion.png"
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    foot = pixels[-40:]
    brown = (foot[..., 0] - foot[..., 2] > 90) & (foot[..., 1] < 120)
    assert brown.sum() > 200
