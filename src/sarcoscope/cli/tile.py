"""`sarcoscope tile`."""

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, say

_CUT = "What is cut"
_SCORE = "Extraction by score"

Mpps = Annotated[list[str] | None, typer.Option(help="um/px or magnification, e.g. 0.5 or 20x; repeat for several.")]
TilePx = Annotated[int | None, typer.Option(help="Side of a tile, px.", rich_help_panel=_CUT)]
Overlap = Annotated[float | None, typer.Option(help="Share of a side, 0..0.9.", rich_help_panel=_CUT)]
Layout = Annotated[str | None, typer.Option(help="nested or concentric.", rich_help_panel=_CUT)]
MinimumTissue = Annotated[float | None, typer.Option(help="By grid, 0..1.", rich_help_panel=_CUT)]
AllowCoarser = Annotated[
    bool, typer.Option("--allow-coarser", help="Leave out scales a slide is too coarse for.", rich_help_panel=_CUT)
]
Way = Annotated[str | None, typer.Option(help="grid or score, for all classes.", rich_help_panel=_SCORE)]
ScoreClass = Annotated[
    list[str] | None, typer.Option(help="A class taken by score, e.g. WDLPS; repeat.", rich_help_panel=_SCORE)
]
Top = Annotated[int | None, typer.Option(help="Densest tiles a slide and scale.", rich_help_panel=_SCORE)]
MinimumNuclei = Annotated[
    float | None, typer.Option(help="Every tile with so many nuclei per mm2.", rich_help_panel=_SCORE)
]
PerRegion = Annotated[int | None, typer.Option(help="Tiles a region at most.", rich_help_panel=_SCORE)]
RegionUm = Annotated[float | None, typer.Option(help="Side of a region, um.", rich_help_panel=_SCORE)]
MixedPatients = Annotated[
    bool, typer.Option("--mixed-patients", help="A patient may have tumours of several classes: warn only.")
]


def tile(
    manifest: Annotated[Path | None, typer.Argument(help="manifest.csv: slide, path, label, ...")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("run"),
    config: Annotated[Path | None, typer.Option(help="YAML; options given beside it win. See --print-config.")] = None,
    mpp: Mpps = None,
    tile_px: TilePx = None,
    overlap: Overlap = None,
    layout: Layout = None,
    minimum_tissue: MinimumTissue = None,
    allow_coarser: AllowCoarser = False,
    method: Way = None,
    score_class: ScoreClass = None,
    top: Top = None,
    minimum_nuclei: MinimumNuclei = None,
    per_region: PerRegion = None,
    region_um: RegionUm = None,
    classes: Annotated[str, typer.Option(help="Known classes, A,B,C; slides of others are left out and named.")] = "",
    mixed_patients: MixedPatients = False,
    images: Annotated[str | None, typer.Option(help="Write kept tiles as png, jpeg or jxl (lossless).")] = None,
    normalise: Annotated[
        str | None, typer.Option(help="Even pictures: even, reinhard, macenko; needs a split.")
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Draw slides with their tiles, and sample tiles.")] = False,
    workers: Annotated[int, typer.Option(help="Slides at a time; 0 takes every core.")] = 0,
    cluster: Annotated[str, typer.Option(help="Dask scheduler to run on, e.g. tcp://10.0.0.1:8786.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Index again what is already done.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print what would be cut, as YAML.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Cut a cohort's slides into tiles: an index a slide, pictures where asked for. Run again to go on.

    Exit code 0: every slide is through; 1: some failed, or the split leaks; 2: all failed, the manifest cannot be
    trusted, or wrong usage; 130: interrupted.
    """
    given = {"mpp": mpp, "tile_px": tile_px, "overlap": overlap, "layout": layout, "minimum_tissue": minimum_tissue}
    given |= {"allow_coarser": allow_coarser or None, "method": method}
    score = {"top": top, "minimum_nuclei": minimum_nuclei, "per_region": per_region, "region_um": region_um}
    asked = {"images": images, "normalise": normalise, "preview": preview, "workers": workers, "cluster": cluster}
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.cli import tile_run

        cut = tile_run.cut_config(config, given, score, score_class or [])
        if print_config:
            from sarcoscope.formats.config import config_text

            print_json({"config": config_text(cut)}) if as_json else say(config_text(cut))
            raise typer.Exit
        run = tile_run.run_config(out, cut, classes, asked | {"mixed_patients": mixed_patients, "force": force})
        with progress_bars() as bars:
            summary = tile_run.run_tile(manifest, run, bars)
    tile_run.show(summary, out, as_json=as_json)
    raise typer.Exit(summary.exit_code)
