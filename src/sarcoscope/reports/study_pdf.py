"""The report of a study as PDF: the same blocks as the page, on A4."""

from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import matplotlib as mpl
from PIL import Image as Picture
from reportlab.graphics.shapes import Drawing, Rect
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    TableStyle,
)
from reportlab.platypus import Table as Grid
from reportlab.platypus.tableofcontents import TableOfContents
from typing_extensions import override

from sarcoscope import __version__
from sarcoscope.reports.study_blocks import (
    Block,
    Cards,
    Cell,
    Figure,
    Gallery,
    Points,
    Section,
    StudyReport,
    Table,
    Text,
)
from sarcoscope.reports.study_drawing import DPI, drawable

_PLAIN, _BOLD = "SarcoscopeSans", "SarcoscopeSans-Bold"
_MARGIN: Final = 15 * mm
_WIDTH: Final = A4[0] - 2 * _MARGIN
_HEAD, _FOOT = 21 * mm, 19 * mm
_ROOM: Final = A4[1] - _HEAD - _FOOT
_INK, _MUTED, _LINE = HexColor("#1b1f24"), HexColor("#5b636c"), HexColor("#d9dde2")
_WARN, _WARN_SOFT, _WARN_LINE = HexColor("#7a4a00"), HexColor("#fff6e3"), HexColor("#e8a317")
_RIGHT, _WRONG, _SOFT = "#1a6b3c", "#a02318", HexColor("#f5f6f8")
_KEPT_WHOLE: Final = 14
"""Rows up to which a table is not split over pages."""
_NOT_CLINICAL: Final = "Not a clinical result."


def study_pdf(report: StudyReport) -> bytes:
    """The document; the same bytes for the same report. The notices stand at the head and foot of every page."""
    _register()
    content = BytesIO()
    document = _Document(content, report)
    document.multiBuild(_story(report))
    return content.getvalue()


@cache
def _register() -> None:
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name, file in ((_PLAIN, "DejaVuSans.ttf"), (_BOLD, "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))
    pdfmetrics.registerFontFamily(_PLAIN, normal=_PLAIN, bold=_BOLD, italic=_PLAIN, boldItalic=_BOLD)


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    values: dict[str, Any] = {"fontName": _PLAIN, "fontSize": size, "leading": size * 1.38, "textColor": _INK}
    return ParagraphStyle(name, **(values | more))


_TITLE = _style("title", 20, fontName=_BOLD, leading=25, spaceAfter=6)
_LEAD = _style("lead", 10.5, spaceAfter=10, textColor=_MUTED)
_SECTION = _style("section", 14, fontName=_BOLD, spaceBefore=16, spaceAfter=8)
_HEADING = _style("heading", 9.5, fontName=_BOLD, spaceBefore=9, spaceAfter=4)
_BODY = _style("body", 8.6, spaceAfter=5)
_HINT = _style("hint", 7.2, textColor=_MUTED, spaceBefore=3, spaceAfter=9)
_CAPTION = _style("caption", 7.4, textColor=_MUTED, spaceBefore=3, spaceAfter=11)
_POINT = _style("point", 8.6, leftIndent=10, bulletIndent=1, spaceAfter=3.2)
_CONTENTS = _style("contents", 9, leading=15)
_WHAT = _style("what", 6.8, textColor=_MUTED, leading=8.6)
_VALUE = _style("value", 15, fontName=_BOLD, leading=19)


def _words(text: str) -> str:
    return escape(drawable(text))


class _Document(BaseDocTemplate):  # type: ignore[misc]  # reportlab has no types  # type: ignore[misc]
    """Pages with the notice, a page number, bookmarks and a list of contents."""

    def __init__(self, file: BytesIO, report: StudyReport) -> None:
        super().__init__(
            file,
            pagesize=A4,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_HEAD,
            bottomMargin=_FOOT,
            title=drawable(report.title),
            author="sarcoscope",
            subject=drawable(f"{_NOT_CLINICAL} {' '.join(report.notices)}"),
            creator=f"sarcoscope {__version__}",
            invariant=1,
        )
        self._report = report
        self._pages = self._last = 0
        frame = Frame(_MARGIN, _FOOT, _WIDTH, _ROOM, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
        self.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=self._dress)])

    def _dress(self, canvas: Canvas, _document: BaseDocTemplate) -> None:
        page = canvas.getPageNumber()
        notice = Paragraph(
            f"<b>{_NOT_CLINICAL}</b> {_words(' '.join(self._report.notices))}",
            _style("notice", 6.8, textColor=_WARN, leading=8.6),
        )
        canvas.saveState()
        for base in (A4[1] - 16.5 * mm, 10 * mm):
            canvas.setFillColor(_WARN_SOFT)
            canvas.rect(_MARGIN, base, _WIDTH, 8 * mm, stroke=0, fill=1)
            canvas.setFillColor(_WARN_LINE)
            canvas.rect(_MARGIN, base, 1.2 * mm, 8 * mm, stroke=0, fill=1)
            _, height = notice.wrap(_WIDTH - 7 * mm, 8 * mm)
            notice.drawOn(canvas, _MARGIN + 4 * mm, base + (8 * mm - height) / 2 - 0.3)
        canvas.setFont(_PLAIN, 6.8)
        canvas.setFillColor(_MUTED)
        canvas.drawString(_MARGIN, 6 * mm, _cut(self._report.title, 90))
        canvas.drawRightString(A4[0] - _MARGIN, 6 * mm, f"page {page} of {self._pages or page}")
        canvas.restoreState()

    @override
    def afterFlowable(self, flowable: Flowable) -> None:
        if isinstance(flowable, _SectionTitle):
            self.canv.bookmarkPage(flowable.anchor)
            self.canv.addOutlineEntry(flowable.plain, flowable.anchor, level=0)
            self.notify("TOCEntry", (0, escape(flowable.plain), self.page, flowable.anchor))

    @override
    def beforeDocument(self) -> None:
        self._pages = self._last

    @override
    def afterPage(self) -> None:
        self._last = self.page


class _SectionTitle(Paragraph):  # type: ignore[misc]  # reportlab has no types  # type: ignore[misc]
    """A section's heading with its anchor."""

    def __init__(self, section: Section) -> None:
        super().__init__(_words(section.title), _SECTION)
        self.anchor = section.id
        self.plain = drawable(section.title)


def _cut(text: str, most: int) -> str:
    shown = drawable(text)
    return shown if len(shown) <= most else shown[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _story(report: StudyReport) -> list[Flowable]:
    contents = TableOfContents(levelStyles=[_CONTENTS], dotsMinLevel=0)
    story: list[Flowable] = [
        Paragraph("STUDY REPORT", _style("kicker", 7.5, textColor=_MUTED)),
        Paragraph(_words(report.title), _TITLE),
        Paragraph(_words(report.lead), _LEAD),
    ]
    for place, section in enumerate(report.sections):
        story += _section(section)
        if place == 0:
            story += [CondPageBreak(80 * mm), Paragraph("Contents", _HEADING), contents]
    story += [
        Spacer(1, 8),
        Paragraph(
            f"{_words(report.made)}; sarcoscope {__version__}. All numbers lie as CSV in tables/ beside this file.",
            _HINT,
        ),
    ]
    return story


def _section(section: Section) -> list[Flowable]:
    """A heading is never left alone at a page's foot: it stays with what introduces the first picture, and that."""
    lead = next((at for at, one in enumerate(section.blocks) if not isinstance(one, Text)), len(section.blocks))
    title: Flowable = _SectionTitle(section)
    first = section.blocks[lead] if lead < len(section.blocks) else None
    whole = _figure(first, _WIDTH * first.share) if isinstance(first, Figure) else None
    if isinstance(first, Table) and len(first.rows) <= _KEPT_WHOLE:
        whole = _parts(first)
    if whole is not None:
        words = [one for block in section.blocks[:lead] for one in _draw(block)]
        story: list[Flowable] = [KeepTogether([title, *words, *whole])]
        rest = section.blocks[lead + 1 :]
    else:
        story, rest = [CondPageBreak(70 * mm), title], section.blocks
    for block in rest:
        story += _draw(block)
    return story


def _draw(block: Block) -> list[Flowable]:
    drawers: dict[type, Callable[[Any], list[Flowable]]] = {
        Table: _table,
        Text: _text,
        Points: _points,
        Cards: _cards,
        Figure: lambda one: [KeepTogether(_figure(one, _WIDTH * one.share))],
        Gallery: _gallery,
    }
    return drawers[type(block)](block)


def _text(block: Text) -> list[Flowable]:
    styles = {"plain": _BODY, "lead": _LEAD, "warning": _BODY, "hint": _HINT, "heading": _HEADING}
    drawn = Paragraph(_words(block.words), styles[block.kind])
    return [CondPageBreak(90 * mm), drawn] if block.kind == "heading" else [drawn]


def _points(block: Points) -> list[Flowable]:
    head = [CondPageBreak(22 * mm), Paragraph(_words(block.title), _HEADING)] if block.title else []
    return [*head, *(Paragraph(_words(one), _POINT, bulletText="\N{BULLET}") for one in block.items)]


def _cards(block: Cards) -> list[Flowable]:
    if not block.cards:
        return []
    abreast = min(5, len(block.cards))
    cells = [
        [Paragraph(_words(one.what), _WHAT), Paragraph(_words(one.value), _VALUE), Paragraph(_words(one.detail), _WHAT)]
        for one in block.cards
    ]
    rows = [cells[at : at + abreast] for at in range(0, len(cells), abreast)]
    rows[-1] += [[] for _ in range(abreast - len(rows[-1]))]
    style = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEABOVE", (0, 0), (-1, -1), 1.6, _INK),
                        ("BACKGROUND", (0, 0), (-1, -1), _SOFT), ("LEFTPADDING", (0, 0), (-1, -1), 6),
                        ("INNERGRID", (0, 0), (-1, -1), 4, HexColor("#ffffff"))])  # fmt: skip
    return [Grid(rows, colWidths=[_WIDTH / abreast] * abreast, style=style), Spacer(1, 9)]


def _figure(block: Figure, width: float, most: float = _ROOM - 24 * mm) -> list[Flowable]:
    with Picture.open(BytesIO(block.content)) as picture:
        across, down = picture.size
    scale = min(width / across, most / down, 72 / (DPI if block.kind == "png" else 130))
    image = Image(BytesIO(block.content), across * scale, down * scale, hAlign="LEFT")
    return [image, Paragraph(_words(block.caption), _CAPTION)]


def _gallery(block: Gallery) -> list[Flowable]:
    gap = 5 * mm
    columns = block.paper
    width = (_WIDTH - gap * (columns - 1)) / columns
    if columns == 1:
        return [KeepTogether(_figure(one, width * one.share, _ROOM / 2 - 16 * mm)) for one in block.figures]
    cells = [_figure(one, width - gap / 2, 0.42 * _ROOM) for one in block.figures]
    rows = [cells[at : at + columns] for at in range(0, len(cells), columns)]
    rows[-1] += [[] for _ in range(columns - len(rows[-1]))]
    style = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0),
                        ("RIGHTPADDING", (0, 0), (-1, -1), gap / 2)])  # fmt: skip
    return [Grid(rows, colWidths=[_WIDTH / columns] * columns, style=style)]


def _table(block: Table) -> list[Flowable]:
    parts = _parts(block)
    return [KeepTogether(parts)] if len(block.rows) <= _KEPT_WHOLE else [CondPageBreak(45 * mm), *parts]


def _parts(block: Table) -> list[Flowable]:
    size = 7 if len(block.columns) <= 7 else 6.4 if len(block.columns) <= 10 else 6
    plain, number = _style("cell", size), _style("number", size, alignment=TA_RIGHT)
    styles = [number if one.number else plain for one in block.columns]
    heads = [
        Paragraph(f'<font color="#5b636c">{_words(one.text)}</font>', style)
        for one, style in zip(block.columns, styles, strict=True)
    ]
    rows: list[Sequence[Any]] = [heads]
    commands: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 1.5), ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.4),
    ]  # fmt: skip
    if block.groups():
        rows.insert(0, _group_row(block, commands, size))
    first = len(rows)
    commands.append(("LINEBELOW", (0, first - 1), (-1, first - 1), 0.8, _MUTED))
    total = sum(one.width for one in block.columns)
    widths = [_WIDTH * one.width / total for one in block.columns]
    rows += [
        [_cell(cell, style, width) for cell, style, width in zip(row, styles, widths, strict=True)]
        for row in block.rows
    ]
    grid = Grid(rows, colWidths=widths, repeatRows=first, style=TableStyle(commands), hAlign="LEFT")
    note = block.note + (f" tables/{block.csv}" if block.csv else "")
    title = Paragraph(_words(block.title), _HEADING)
    return [title, grid, Paragraph(_words(note.strip()), _HINT)]


def _group_row(block: Table, commands: list[tuple[Any, ...]], size: float) -> list[Any]:
    style = _style("group", size, fontName=_BOLD, alignment=1)
    row: list[Any] = []
    for group, count in block.groups():
        if group:
            commands += [("SPAN", (len(row), 0), (len(row) + count - 1, 0)),
                         ("LINEBELOW", (len(row), 0), (len(row) + count - 1, 0), 0.6, _MUTED)]  # fmt: skip
        else:
            commands.append(("LINEBELOW", (len(row), 0), (len(row) + count - 1, 0), 0.4, HexColor("#ffffff")))
        row += [Paragraph(_words(group), style), *[""] * (count - 1)]
    return row


def _cell(cell: Cell, style: ParagraphStyle, width: float) -> list[Flowable]:
    text = _words(cell.text)
    if cell.mark == "best":
        text = f"<b>{text}</b>"
    elif cell.mark == "quiet":
        text = f'<font color="#5b636c">{text}</font>'
    if cell.color:
        text = f'<font color="{cell.color}">\N{BLACK SQUARE}</font> {text}'
    if cell.sub:
        color = {"right": _RIGHT, "wrong": _WRONG}.get(cell.mark, "#5b636c")
        text += f'<br/><font size="{style.fontSize - 0.9:.1f}" color="{color}">{_words(cell.sub)}</font>'
    paragraph = Paragraph(text, style)
    return [_bar(cell.bars, width - 8), paragraph] if cell.bars else [paragraph]


def _bar(bars: Sequence[tuple[str, float]], width: float) -> Drawing:
    drawing, at = Drawing(width, 7), 0.0
    for color, share in bars:
        drawing.add(
            Rect(at, 1, width * share, 5.5, fillColor=HexColor(color), strokeColor=HexColor("#ffffff"), strokeWidth=0.3)
        )
        at += width * share
    return drawing
