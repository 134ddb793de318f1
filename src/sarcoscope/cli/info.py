"""`sarcoscope info`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, print_json, say


def info(
    slide: Annotated[Path, typer.Argument(help="A slide: a file, or the folder of a DICOM series or an MRXS slide.")],
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="Plan tiles as this bundle does.")] = "",
    tile_mpp: Annotated[float, typer.Option(help="Plan tiles at this scale, where no bundle is given.")] = 0.5,
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel of level 0, where the file does not say.")
    ] = None,
    mpp_override: Annotated[bool, typer.Option("--mpp-override", help="Let --mpp win over the file's scale.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What a slide is: size, levels, scale and where it came from, and what would be tiled.

    Exit code 0 for every slide that opens, also one that could not be tiled (in JSON see tiling.problem); 2 otherwise.
    """
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.core.geometry import Mpp
        from sarcoscope.core.tiling import TilingConfig
        from sarcoscope.formats.bundle import find_bundle
        from sarcoscope.stages.inspect import inspect_slide

        tiling = find_bundle(bundle).manifest.tiling if bundle else TilingConfig(mpp=Mpp(tile_mpp))
        found = inspect_slide(slide, tiling, None if mpp is None else Mpp(mpp), mpp_override=mpp_override)
    if as_json:
        print_json(found)
    else:
        for name, value in _rows(found):
            say(f"{name:<18}{value}")


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    tiling = found["tiling"]
    levels = ", ".join(f"{lv['width']}x{lv['height']} (1:{lv['downsample']:g})" for lv in found["levels"])
    if found["mpp"] is None:
        scale = found["mpp_problem"] or "unknown: not in the file; give it with --mpp"
    else:
        scale = f"{found['mpp']:g} um/px ({found['mpp_source']})"
    if tiling["problem"]:
        tiles = f"none: {tiling['problem'].removeprefix(found['path'] + ': ')}"
    else:
        dropped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in tiling["dropped"].items())
        tiles = (
            f"{tiling['to_read']} of {tiling['planned']} cells of {tiling['tile_px']} px at {tiling['read_at_mpp']:g} "
            f"um/px would be read ({dropped or 'none'} dropped by the tissue map)"
        )
    power = found["objective_power"]
    return [
        ("slide", found["path"]),
        ("vendor", f"{found['vendor']}{' (' + str(found['files']) + ' files)' if found['files'] > 1 else ''}"),
        ("size", f"{found['width']} x {found['height']} px"),
        ("levels", levels),
        ("scale", scale),
        *(("warning", warning) for warning in found["mpp_warnings"]),
        ("objective power", "not in the file" if power is None else f"{power:g}x"),
        ("associated", ", ".join(found["associated_images"]) or "none"),
        ("ICC profile", "yes (not applied)" if found["icc_profile"] else "no"),
        ("tiles", tiles),
    ]
