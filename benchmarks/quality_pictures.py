"""The pictures of docs/quality.md and docs/normalisation.md, painted from synthetic phantoms: no patient is in them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sarcoscope.core.appearance import METHODS
from sarcoscope.core.geometry import Box, Mask, Rgb, Size
from sarcoscope.core.tile import DropReason
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import PhantomSlide
from sarcoscope.reports.colors import DROP_COLORS, INK, MUTED, NOTICE, WHITE, Color
from sarcoscope.reports.drawing import font, write
from sarcoscope.reports.overlay import place
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.tiling.appearance import Normaliser, measure_appearance
from sarcoscope.tiling.plan import TilePlan, plan_tiles
from sarcoscope.tiling.quality import BLOCK_PX, measure
from sarcoscope.tiling.tissue import find_tissue

IMAGES = Path(__file__).parents[1] / "docs" / "images"
NOTICE_TEXT = "Synthetic phantom drawn by sarcoscope, not a patient's tissue."
PANEL_PX = 400
_GAP, _TITLE = 16, 30
Panel = tuple[str, Rgb]


def sheet(panels: Sequence[Panel]) -> Image.Image:
    """Panels side by side, each under its title, over the notice that all is synthetic."""
    width = len(panels) * (PANEL_PX + _GAP) + _GAP
    canvas = Image.new("RGB", (width, PANEL_PX + 2 * _TITLE + _GAP), WHITE)
    draw = ImageDraw.Draw(canvas)
    for index, (title, rgb) in enumerate(panels):
        left = _GAP + index * (PANEL_PX + _GAP)
        write(draw, (left, _TITLE - 8), title, face=font(15), ink=INK, anchor="ls")
        canvas.paste(Image.fromarray(rgb).resize((PANEL_PX, PANEL_PX), Image.Resampling.LANCZOS), (left, _TITLE))
        draw.rectangle((left, _TITLE, left + PANEL_PX - 1, _TITLE + PANEL_PX - 1), outline=MUTED)
    write(draw, (_GAP, PANEL_PX + _TITLE + 22), NOTICE_TEXT, face=font(14), ink=NOTICE, anchor="ls")
    return canvas


def save(name: str, panels: Sequence[Panel]) -> None:
    """Write docs/images/NAME.jpg and say how large it is."""
    path = IMAGES / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet(panels).save(path, "JPEG", quality=72, optimize=True)
    print(f"{path.relative_to(IMAGES.parents[1])}: {path.stat().st_size // 1024} KB")


def half_micron(painter: PhantomPainter) -> Rgb:
    """A phantom at 0.5 um/px."""
    rows = [
        cv2.resize(band, (band.shape[1] // 2, len(band) // 2), interpolation=cv2.INTER_AREA) for band in painter.bands()
    ]
    return np.concatenate(rows).astype(np.uint8)


def painted(label: str, *artefacts: str, seed: int = 3, batch: int = 1) -> MemorySlide:
    """A phantom in memory at 0.5 um/px."""
    spec = PhantomSlide(slide_id="phantom-docs", label=label, seed=seed, batch=batch, artefacts=frozenset(artefacts))
    return MemorySlide(half_micron(PhantomPainter(spec)), levels=5)


def overview(slide: MemorySlide, side: int = 2 * PANEL_PX) -> Rgb:
    """The whole slide."""
    return slide.read(Box(0, 0, slide.info.size.width, slide.info.size.height), Size(side, side))


def outlined(rgb: Rgb, mask: Mask, color: Color) -> Rgb:
    """A mask's outline drawn on an overview of the same field."""
    height, width = rgb.shape[:2]
    large = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = rgb.copy()
    cv2.drawContours(drawn, lines, -1, color, 3)
    return drawn


def reasons(rgb: Rgb, slide: MemorySlide, plan: TilePlan, shown: Sequence[DropReason]) -> Rgb:
    """Tiles over an overview: kept ones outlined, dropped ones filled with their reason's colour."""
    drawn = Image.fromarray(rgb).convert("RGB")
    draw = ImageDraw.Draw(drawn, "RGBA")
    size = Size(rgb.shape[1], rgb.shape[0])
    for tile in plan.tiles:
        at = place(tile.box, slide.info.size, size)
        if at and (tile.dropped is None or tile.dropped in shown):
            fill = (*DROP_COLORS[tile.dropped], 130) if tile.dropped else None
            draw.rectangle((at.left, at.top, at.right - 1, at.bottom - 1), fill=fill, outline=(*INK, 160), width=2)
    return np.asarray(drawn)


def tissue_and_pen() -> None:
    """blank.jpg and pen.jpg."""
    slide = painted("WDLPS", "pen", seed=11)
    plan, found, whole = plan_tiles(slide, TilingConfig()), find_tissue(slide, 0.5), overview(slide)
    kinds = [DropReason.BLANK, DropReason.LITTLE_TISSUE]
    save(
        "quality/blank",
        [
            ("a slide", whole),
            ("its tissue, vacuoles filled", outlined(whole, found.tissue, INK)),
            ("blank (grey), too little tissue (yellow)", reasons(whole, slide, plan, kinds)),
        ],
    )
    save(
        "quality/pen",
        [
            ("a slide with ink", whole),
            ("the ink that is found", outlined(whole, found.pen, DROP_COLORS[DropReason.FOLD])),
            ("tiles dropped for it (green)", reasons(whole, slide, plan, [DropReason.PEN])),
        ],
    )


def folds() -> None:
    """fold.jpg."""
    slide = painted("LMS", "fold", seed=5)
    plan, found, whole = plan_tiles(slide, TilingConfig()), find_tissue(slide, 0.5), overview(slide)
    worst = max(plan.tiles, key=lambda tile: tile.fold)
    near = slide.read(Box(worst.box.left - 256, worst.box.top - 256, 1024, 1024), Size(1024, 1024))
    save(
        "quality/fold",
        [
            ("a folded section", near),
            ("what is found (orange)", outlined(whole, found.fold, DROP_COLORS[DropReason.FOLD])),
            ("tiles dropped for it", reasons(whole, slide, plan, [DropReason.FOLD])),
        ],
    )


def sharp_tile(slide: MemorySlide) -> Rgb:
    """A kept tile near the middle of a slide."""
    middle = slide.info.size.width // 2
    return slide.read(Box(middle, middle, 512, 512), Size(512, 512))


def blurred(tile: Rgb, sigma_px: float) -> Rgb:
    """The tile out of focus."""
    return np.asarray(cv2.GaussianBlur(tile, (0, 0), sigma_px), np.uint8)


def focus() -> None:
    """blurred.jpg and out_of_focus.jpg."""
    slide = painted("UPS", seed=9)
    tile = sharp_tile(slide)
    ways = [("as scanned", tile), ("sigma 1.5 px", blurred(tile, 1.5)), ("sigma 3 px", blurred(tile, 3))]
    save("quality/blurred", [(f"{words}: sharpness {measure(rgb).sharpness:.0f}", rgb) for words, rgb in ways])
    rows, columns = np.indices(tile.shape[:2])
    bubble = np.hypot(rows - 210, columns - 200) < 210
    spoiled = np.where(bubble[..., None], blurred(tile, 4), tile)
    cv2.circle(spoiled, (200, 210), 210, (120, 116, 124), 3, cv2.LINE_AA)
    found, marked = measure(spoiled), spoiled.copy()
    for top in range(0, 512, BLOCK_PX):
        for left in range(0, 512, BLOCK_PX):
            if measure(spoiled[top : top + BLOCK_PX, left : left + BLOCK_PX]).unfocused:
                corner = (left + BLOCK_PX - 2, top + BLOCK_PX - 2)
                cv2.rectangle(marked, (left + 1, top + 1), corner, DROP_COLORS[DropReason.OUT_OF_FOCUS], 3)
    save(
        "quality/out_of_focus",
        [
            (f"as scanned: sharpness {measure(tile).sharpness:.0f}", tile),
            (f"under a bubble: sharpness still {found.sharpness:.0f}", spoiled),
            (f"blocks out of focus: {found.unfocused:.0%}", marked),
        ],
    )


def normalisation() -> None:
    """normalisation.jpg."""
    tiles = {}
    for batch in (1, 2):
        slide = painted("DDLPS", seed=21, batch=batch)
        plan = plan_tiles(slide, TilingConfig())
        tiles[batch] = [slide.read(tile.box, Size(512, 512)) for tile in plan.candidates]
    target, own = (measure_appearance(tiles[batch]) for batch in (1, 2))
    if target is None or own is None:
        raise SystemExit("too little stain")
    shown = [tiles[batch][len(tiles[batch]) // 2] for batch in (1, 2)]
    panels = [("the target's laboratory", shown[0]), ("another one, as it is", shown[1])]
    panels += [(method, Normaliser(method, own, target)(shown[1])) for method in METHODS]
    save("normalisation", panels)


def main() -> None:
    """Paint all of them."""
    tissue_and_pen()
    folds()
    focus()
    normalisation()


if __name__ == "__main__":
    main()
