"""What a whole study of phantoms takes, stage by stage, and what its sets hold: synthetic, of no clinical meaning."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from results import put_section, said
from sarcoscope.core.evaluation import Evaluation, Share
from sarcoscope.formats.evaluation import EVALUATION_FILE, read_evaluation


def shown(share: Share) -> str:
    """'9 of 10 (59.6 - 98.2)', per cent by Wilson."""
    return f"{share.right} of {share.n} ({100 * share.low:.0f} - {100 * share.high:.0f} %)"


def found(evaluation: Evaluation) -> Iterator[str]:
    """A row for each bundle and test set."""
    bundles = [one.name for one in evaluation.models if not one.of]
    by_way = {(one.model, one.part, one.way): one for one in evaluation.slide}
    for covered in evaluation.coverage:
        if covered.model in bundles and covered.part.startswith("test"):
            votes = [by_way.get((covered.model, covered.part, way)) for way in ("vote", "refined")]
            right = " | ".join("-" if one is None else shown(one.overall) for one in votes)
            row = f"| {covered.model} | {covered.part} | {right} | {shown(covered.covered)} at {covered.level:.0%} "
            yield row + f"| {covered.mean_size or 0:.1f} | {'-' if covered.far is None else shown(covered.far)} |"


def measured(out: Path, options: list[str]) -> tuple[float, int, dict[str, Any]]:
    """Seconds and exit code of the command, and its stages.json."""
    begin = perf_counter()
    command = Path(sys.executable).with_name("sarcoscope")
    code = subprocess.run([command, "study", "phantom", out, *options], check=False).returncode
    return perf_counter() - begin, code, json.loads((out / "study" / "stages.json").read_text(encoding="utf-8"))


def main() -> None:
    """Run it in a temporary folder, write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="as small as all stages allow")
    tiny = parser.parse_args().tiny
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "study"
        seconds, code, record = measured(out, ["--tiny"] if tiny else [])
        spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for step in record["stages"]:
            own = spent[step["stage"]]
            own[:] = own[0] + 1, own[1] + (step["seconds"] or 0), own[2] + (step["cpu_seconds"] or 0)
        rows = [f"| {stage} | {n:.0f} | {wall:.0f} | {cpu:.0f} |" for stage, (n, wall, cpu) in spent.items()]
        evaluation = read_evaluation(out / "study" / "evaluation" / EVALUATION_FILE)
    steps = sum(wall for _, wall, _ in spent.values())
    rows += [f"| painting, and between | | {seconds - steps:.0f} | |", f"| **all** | | **{seconds:.0f}** | |"]
    about = f"`sarcoscope study phantom`{' --tiny' if tiny else ''}, exit code {code}. {evaluation.data}"
    table = ["| stage | steps | seconds | CPU seconds |", "|---|---|---|---|", *rows]
    head = "| bundle | slides of | right by vote | refined | sets that hold the truth | mean size | flagged |"
    sets = [head, "|---|---|---|---|---|---|---|", *found(evaluation)]
    meaning = "Right, sets and flags of **phantoms**, painted by this software: they show that the way works, no more."
    put_section(
        f"A phantom study{', tiny' if tiny else ''}",
        [said(f"benchmarks/study.py{' --tiny' if tiny else ''}"), about, "", *table, "", meaning, "", *sets],
    )


if __name__ == "__main__":
    main()
