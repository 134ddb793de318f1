"""`sarcoscope bundle`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sarcoscope.cli.console import Debug, Json, errors_told, percent, print_json, say

if TYPE_CHECKING:
    from sarcoscope.formats.bundle import Bundle

app = typer.Typer(help="Look at bundles.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Look at bundles."""


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
