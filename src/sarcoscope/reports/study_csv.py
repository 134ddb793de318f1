"""All numbers of a study as CSV: those of its evaluation and searches, and the paper's beside them."""

from collections.abc import Mapping, Sequence

from sarcoscope.core.evaluation import Evaluation, Search
from sarcoscope.formats.evaluation_tables import csv_text, evaluation_tables, search_table
from sarcoscope.reports.published_figures import PUBLISHED, SOURCE


def study_tables(evaluation: Evaluation, searches: Sequence[Search] = (), *, published: bool = False) -> dict[str, str]:
    """Content of each CSV by its name; `NOTICE.txt` says what they are not."""
    found = evaluation_tables(evaluation) | {f"search_{one.name}.csv": search_table(one) for one in searches}
    return found | ({"published_slides.csv": _published()} if published else {})


def _published() -> str:
    heading = ("test", "model", "n", "original", "refined", "printed_original", "printed_refined", "source")
    rows = [
        (one.test, one.model, one.n, one.original, one.refined, one.printed_original, one.printed_refined, SOURCE)
        for one in PUBLISHED
    ]
    return csv_text([heading, *rows])


def as_files(tables: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the tables that can be linked."""
    return tuple(name for name in tables if name.endswith(".csv"))
