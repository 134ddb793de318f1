"""The report of a study: index.html, report.pdf, tables as CSV, figures as pictures."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from sarcoscope.formats.atomic import remove, write_bytes, write_text
from sarcoscope.reports.pages import data_uri, render
from sarcoscope.reports.study_artifacts import StudyArtifacts
from sarcoscope.reports.study_blocks import StudyReport
from sarcoscope.reports.study_csv import as_files, study_tables
from sarcoscope.reports.study_drawing import drawing
from sarcoscope.reports.study_facts import StudyFacts, read_facts
from sarcoscope.reports.study_pdf import study_pdf
from sarcoscope.reports.study_sections import sections
from sarcoscope.reports.study_words import listed
from sarcoscope.reports.wording import plural

__all__ = ["StudyArtifacts", "make_report", "study_page", "write_study_report"]
_SYNTHETIC: Final = "Made of synthetic phantom slides, of no clinical meaning."
_RESEARCH: Final = "Research use only, not a medical device."


def write_study_report(study: StudyArtifacts) -> Path:
    """Write OUT/report: tables/, figures/, report.pdf and index.html, which it returns; each file atomically.

    Raises ArtifactError where a file that is named is missing or damaged, or the disk is full.
    """
    report = make_report(read_facts(study))
    folder = study.out / "report"
    for name, text in report.tables.items():
        write_text(folder / "tables" / name, text)
    for figure in report.figures():
        write_bytes(folder / "figures" / figure.name, figure.content)
    _remove_others(folder / "tables", set(report.tables))
    _remove_others(folder / "figures", {figure.name for figure in report.figures()})
    write_bytes(folder / "report.pdf", study_pdf(report))
    page = folder / "index.html"
    write_text(page, study_page(report))
    return page


def _remove_others(folder: Path, names: Collection[str]) -> None:
    """What an earlier report left, so that no number of it is taken for one of this."""
    for path in sorted(folder.glob("*.*")):
        if path.name not in names and path.suffix in {".csv", ".txt", ".png", ".jpg"}:
            remove(path)


def make_report(facts: StudyFacts) -> StudyReport:
    """All blocks, from which page and PDF are drawn."""
    evaluation, study = facts.evaluation, facts.study
    own = _SYNTHETIC if facts.synthetic else _RESEARCH
    said = not facts.synthetic or "synthetic" in evaluation.notice or "phantom" in evaluation.notice
    notices = (evaluation.notice or own,) if said else (own, evaluation.notice)
    codes = listed([one.code for one in evaluation.classes])
    with drawing():
        found = sections(facts, f"Not a clinical result. {' '.join(notices)}")
    return StudyReport(
        title=study.title,
        notices=notices,
        lead=f"{codes}: {plural(len(evaluation.models), 'model')} on tiles and on whole slides.",
        sections=found,
        tables=study_tables(evaluation, facts.searches, published=study.published),
        made=f"Evaluation {evaluation.name}, {evaluation.draws:,} draws, seed {evaluation.seed}",
    )


def study_page(report: StudyReport) -> str:
    """The page: one file, without any request."""
    return render("study.html", report=report, notices=report.notices, data_uri=data_uri, files=as_files(report.tables),
                  kind_of=lambda block: type(block).__name__.lower())  # fmt: skip
