"""`sarcoscope convert`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, progress_bars, say, tell
from sarcoscope.core.errors import InputError, SarcoscopeError, shown

if TYPE_CHECKING:
    from sarcoscope.core.geometry import Box
    from sarcoscope.stages.convert import ConvertSummary
    from sarcoscope.stages.convert_one import ConvertConfig, Converted, ConvertJob


def convert(
    slides: Annotated[
        list[Path], typer.Argument(readable=False, help="Slides: files, or folders of a DICOM series or an MRXS slide.")
    ],
    out: Annotated[
        Path, typer.Argument(readable=False, help="A folder; or the file to write, for one slide: .tif, .png, .jpg.")
    ],
    to: Annotated[str, typer.Option(help="tiff, dicom, png or jpeg; by OUT's suffix, else tiff.")] = "",
    region: Annotated[str, typer.Option(help="LEFT,TOP,WIDTH,HEIGHT in level-0 px, for png and jpeg.")] = "",
    out_mpp: Annotated[float | None, typer.Option(help="Microns per pixel of the picture, for png and jpeg.")] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality of what has to be compressed, 1..100.")] = 90,
    tile: Annotated[int, typer.Option(help="Side of tiles where all have to be compressed, a multiple of 16.")] = 256,
    keep_associated: Annotated[
        bool, typer.Option("--keep-associated", help="Keep label, macro and thumbnail, which may show names.")
    ] = False,
    key_file: Annotated[
        Path | None, typer.Option(help="CSV that keeps names apart: outputs are named by pseudonyms from it.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel of level 0, where the file does not say.")
    ] = None,
    mpp_override: Annotated[bool, typer.Option("--mpp-override", help="Let --mpp win over the file's scale.")] = False,
    workers: Annotated[int, typer.Option(help="Slides at a time, each in a process; 0 takes every core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there under an output's name.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Convert slides to pyramidal TIFF, DICOM or flat pictures; JPEG tiles are copied without decoding.

    The output holds pixels, scale, objective power and colour profile, nothing else of the source. Exit code 0:
    every slide is converted, now or earlier; 1: some failed; 2: all failed, or wrong usage; 130: interrupted.
    """
    with errors_told(as_json=as_json, debug=debug):
        import os

        from sarcoscope.core.geometry import Mpp
        from sarcoscope.stages.convert import convert as run
        from sarcoscope.stages.convert import out_kind, plan_jobs
        from sarcoscope.stages.convert_one import ConvertConfig

        kind: Any = to or out_kind(out) or "tiff"
        config = ConvertConfig(
            out=out,
            to=kind,
            quality=quality,
            tile=tile,
            keep_associated=keep_associated,
            region=_box(region),
            out_mpp=None if out_mpp is None else Mpp(out_mpp),
            key_file=key_file,
            force=force,
            workers=workers or os.cpu_count() or 1,
        )
        jobs = plan_jobs(slides, config, None if mpp is None else Mpp(mpp), mpp_override=mpp_override)
        with progress_bars() as bars:
            summary = run(jobs, config, _Bars(bars, len(jobs)))
    _show(summary, config, as_json=as_json)
    raise typer.Exit(summary.exit_code)


class _Bars:
    """A listener that draws a bar over slides and one over their tiles."""

    def __init__(self, progress: Progress, slides: int) -> None:
        self._progress = progress
        self._slides = progress.add_task("slides", total=slides)
        self._tiles = progress.add_task("tiles", total=None, visible=False)
        self._planned = 0

    def tiles_planned(self, count: int) -> None:
        """Lengthen the tiles' bar."""
        self._planned += count
        self._progress.update(self._tiles, total=self._planned, visible=True)

    def tiles_done(self, count: int) -> None:
        """Advance it."""
        self._progress.advance(self._tiles, count)

    def slide_finished(self, done: "Converted") -> None:
        """Advance the slides' bar."""
        for warning in done.warnings:
            tell(f"warning: {shown(done.job.path)}: {warning}")
        self._progress.advance(self._slides)

    def slide_failed(self, job: "ConvertJob", error: SarcoscopeError) -> None:
        """Say why, in one line, and go on."""
        words = str(error)
        tell(f"error: {words}" if shown(job.path) in words else f"error: {shown(job.path)}: {words}")
        self._progress.advance(self._slides)


def _show(summary: "ConvertSummary", config: "ConvertConfig", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "converted": [_record(done) for done in summary.done],
                "failed": {shown(path): str(error) for path, error in summary.failures.items()},
                "names_kept": config.key_file is None,
                "exit_code": summary.exit_code,
            }
        )
        return
    for done in summary.done:
        say(_line(done))
    if summary.done and config.key_file is None:
        tell("output names repeat the slides' names; --key-file keys.csv names outputs by pseudonyms instead")


def _record(done: "Converted") -> dict[str, Any]:
    return {
        "source": shown(done.job.path),
        "output": shown(done.job.target),
        "skipped": done.skipped,
        "levels": done.levels,
        "tiles": None if done.tiles is None else asdict(done.tiles),
        "bytes_in": done.bytes_in,
        "bytes_out": done.bytes_out,
        "seconds": round(done.seconds, 3),
        "warnings": list(done.warnings),
    }


def _line(done: "Converted") -> str:
    target = shown(done.job.target)
    if done.skipped:
        return f"{target}: done by an earlier run from the same slide (--force converts it again)"
    speed = f"{done.bytes_in / 1e6:.1f} MB in {done.seconds:.1f} s ({done.bytes_in / 1e6 / done.seconds:.0f} MB/s)"
    if done.tiles is None:
        return f"{target}: {speed}"
    counts = (
        (done.tiles.copied, "copied bit by bit"),
        (done.tiles.trimmed, "copied without the comments in them"),
        (done.tiles.recompressed, "compressed again"),
        (done.tiles.absent, "absent, now white"),
        (done.tiles.made, "made from pixels"),
    )
    tiles = ", ".join(f"{count} {words}" for count, words in counts if count)
    return f"{target}: {done.levels} level{'s' if done.levels > 1 else ''}; tiles: {tiles}; {speed}"


def _box(region: str) -> "Box | None":
    """The region as a box in level-0 px; InputError for what is none."""
    from sarcoscope.core.geometry import Box

    if not region:
        return None
    try:
        left, top, width, height = (int(part) for part in region.split(","))
    except ValueError as error:
        raise InputError(f"region {region!r} is not LEFT,TOP,WIDTH,HEIGHT", "e.g. --region 0,0,2048,2048") from error
    return Box(left, top, width, height)
