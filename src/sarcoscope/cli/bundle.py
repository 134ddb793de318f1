"""`sarcoscope bundle`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, percent, print_json, say

if TYPE_CHECKING:
    from sarcoscope.formats.bundle import Bundle

app = typer.Typer(help="Look at bundles, make them.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Look at bundles, make them."""


@app.command()
def show(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped one, e.g. phantom.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Classes, members, scales, fusion, rules, where it comes from, and what it is and is not for."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.formats.bundle import find_bundle

        opened = find_bundle(bundle)
    if as_json:
        print_json({"folder": str(opened.folder), "sha256": opened.sha256, **opened.manifest.model_dump(mode="json")})
        return
    for name, value in _rows(opened):
        say(f"{name:<16}{value}")


@app.command()
def make(
    members: Annotated[list[Path], typer.Argument(help="Folders of trained members, RUN/members/NAME.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle.")],
    name: Annotated[str, typer.Option(help="Of the bundle; its folder's where left out.")] = "",
    class_name: Annotated[list[str] | None, typer.Option(help="CODE=WORDS, a class in words; repeat.")] = None,
    intended_use: Annotated[str, typer.Option(help="One sentence on what it is for.")] = "",
    not_for: Annotated[str, typer.Option(help="One sentence on what it is not for.")] = "",
    minimum_tiles: Annotated[int, typer.Option(help="Fewer kept tiles give 'undetermined'.")] = 20,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put trained members into a bundle that `diagnose` takes; of several the mean of probabilities counts."""
    with errors_told(as_json=as_json, debug=debug):
        from sarcoscope.core.errors import InputError
        from sarcoscope.stages.bundle_make import BundleAsk, make_bundle

        names = dict(one.partition("=")[::2] for one in class_name or [])
        if not all(names.values()):
            raise InputError(f"--class-name {' '.join(class_name or [])}", "give CODE=WORDS")
        said = {"intended_use": intended_use, "not_for": not_for}
        ask = BundleAsk(
            members=tuple(members),
            out=out,
            name=name,
            names=names,
            minimum_tiles=minimum_tiles,
            **{key: words for key, words in said.items() if words},
        )
        made = make_bundle(ask)
    if as_json:
        print_json({"folder": str(made.folder), "sha256": made.sha256})
    else:
        say(f"bundle: {made.folder}; next: sarcoscope diagnose SLIDES --bundle {made.folder}")


def _rows(opened: "Bundle") -> list[tuple[str, str]]:
    manifest = opened.manifest
    rules, tiling = manifest.rules, manifest.tiling
    rows = [
        ("bundle", f"{manifest.name}, version {manifest.version}, every file matches its hash"),
        ("sha256", opened.sha256),
        ("for", manifest.intended_use),
        ("not for", f"{manifest.not_for} Research use only, not a medical device."),
        *((_first("classes", n), f"{c.code}: {c.name}") for n, c in enumerate(manifest.classes)),
        *(
            (
                _first("members", n),
                f"{m.name}: {m.architecture}; trained at {_scales(m.trained_mpp)}{_metrics(m.metrics)}",
            )
            for n, m in enumerate(manifest.members)
        ),
        ("tiles", f"{tiling.tile_px} px at {tiling.mpp:g} um/px, at least {percent(tiling.minimum_tissue)} tissue"),
        ("fusion", f"{manifest.fusion.rule} of probabilities, {manifest.fusion.mode} tiles"),
        ("rules", f"most frequent label of at least {rules.minimum_tiles} tiles, else undetermined"),
    ]
    if rules.refine:
        moves = ", ".join(f"{a} counts as {b}" for a, b in rules.refine.relabel.items())
        seen = ", ".join(rules.refine.evidence)
        rows.append(("", f"refined: where {seen} each hold {percent(rules.refine.fraction)} of tiles, {moves}"))
    rows += [("", f"component: {rule.component} in {rule.main}") for rule in rules.components]
    rows += [("", f"tile level only: {code}") for code in rules.unscored]
    return rows + _origin(manifest.provenance)


def _origin(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    told = [("trained on", provenance.get("trained_on"))]
    tiles, slides = provenance.get("tiles"), provenance.get("slides")
    if isinstance(tiles, dict) and isinstance(slides, dict):
        told += [
            ("", f"{name}: {sum(counts.values())} tiles of {len(slides.get(name, []))} slides")
            for name, counts in tiles.items()
        ]
    told += [("made", f"{provenance.get('made')} by '{provenance.get('command')}' {provenance.get('version')}")]
    return [(name, str(value)) for name, value in told if value]


def _first(name: str, number: int) -> str:
    return "" if number else name


def _scales(scales: tuple[float, ...]) -> str:
    return ", ".join(f"{mpp:g}" for mpp in scales) + " um/px"


def _metrics(metrics: dict[str, float]) -> str:
    return "".join(f"; {name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items())
