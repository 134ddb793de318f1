"""`sarcoscope phantom`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, tell

app = typer.Typer(help="Synthetic slides of no clinical meaning, for trials and tests.", no_args_is_help=True)


@app.command()
def cohort(
    out: Annotated[Path, typer.Argument(help="Folder for the slides and their manifest.csv.")],
    seed: Annotated[int, typer.Option(help="Other seeds, other slides.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that paint.")] = 2,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Paint the demo's cohort: ten phantom slides of five classes and two batches."""
    with errors_told(as_json=as_json, debug=debug):
        import numpy as np

        from sarcoscope.phantom.cohort import demo_cohort, write_cohort

        specs = demo_cohort(np.random.default_rng(seed))
        with progress_bars() as bars:
            task = bars.add_task("painting phantom slides", total=len(specs))
            manifest = write_cohort(specs, out, lambda _spec: bars.advance(task), workers)
    if as_json:
        print_json({"manifest": str(manifest), "slides": [spec.slide_id for spec in specs]})
    else:
        tell(f"{len(specs)} synthetic phantom slides, of no clinical meaning: {manifest}")


@app.command()
def bundle(
    out: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    work: Annotated[Path, typer.Option(help="Folder for the training slides; painted slides are used again.")] = Path(
        "phantom-work"
    ),
    slides_per_class: Annotated[int, typer.Option(help="Training slides of each class.")] = 10,
    validation_per_class: Annotated[int, typer.Option(help="Validation slides of each class.")] = 3,
    epochs: Annotated[int, typer.Option(help="Passes over the training tiles.")] = 12,
    seed: Annotated[int, typer.Option(help="Seeds the slides.")] = 20_260_001,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the phantom bundle on phantom slides (needs the training extra)."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.core.errors import MissingExtraError

        try:
            import onnxscript  # noqa: F401
            import torch  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"training needs {error.name}", "in a checkout: pip install '.[train]'") from error
        from sarcoscope.core.training import LengthConfig
        from sarcoscope.stages.phantom_bundle import RECIPE, PhantomBundleConfig, train_phantom_bundle

        config = PhantomBundleConfig(
            out=out,
            work=work,
            slides_per_class=slides_per_class,
            validation_per_class=validation_per_class,
            seed=seed,
            recipe=replace(RECIPE, length=LengthConfig(epochs=epochs, batch=RECIPE.length.batch)),
        )
        made = train_phantom_bundle(config, tell)
    if as_json:
        print_json({"folder": str(out), "sha256": made.sha256, **made.manifest.model_dump(mode="json")})
    else:
        tell(f"bundle: {out} ({made.sha256})")
