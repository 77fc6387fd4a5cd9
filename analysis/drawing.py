"""A figure as files and as inline SVG; equal figures give equal bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from fontTools.subset import Options
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from analysis.hover import keeps_colors, parse_titles
from analysis.style import STYLE, use_style

_SVG = "http://www.w3.org/2000/svg"
_PATTERN = f"{{{_SVG}}}pattern"  # hatches of cells that keep their colors
_HREF = "{http://www.w3.org/1999/xlink}href"
_POINTS = 72.0  # in an inch, the unit of matplotlib's SVG
_PANEL, _SWATCH, _KEPT = "panel-", "swatch-", "kept"
_REM_PER_POINT = 0.068
_MARGIN = 2.0  # around a panel, points
_NUMBER = re.compile(r"-?\d+\.\d+")
_FONT = re.compile(r"font-family:[^;]*;?\s*")
_COLOR = re.compile(r"#([0-9a-f]{6})\b")
_DEFAULT = re.compile(r"(?:stroke-linejoin: (?:miter|round)|stroke-linecap: (?:butt|square));?\s*")

# A PDF positions each glyph itself. Cutting these tables of a font to its glyphs takes longer than
# all else in writing the file.
_LAYOUT_TABLES = ("GDEF", "GPOS", "GSUB")

_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LegendEntry:
    """An entry of a figure's legend.

    Attributes:
        swatch: Its line and marker as inline SVG.
        label: Its text.
    """

    swatch: str
    label: str


@dataclass(frozen=True)
class Drawing:
    """A figure for the report.

    Attributes:
        files: Content by ending: ``png``, ``pdf`` and ``svg``.
        panels: Inline SVG of each panel; of the whole figure if it is not split.
        legend: The legend of the panels; empty if the figure is not split.
        width: Width of the figure in inches.
        colors: The colors of the inline SVG as six hexadecimal digits, each a CSS variable.
        panel_width: Width of a panel in points; 0 for a whole figure.
    """

    files: dict[str, bytes]
    panels: list[str]
    legend: list[LegendEntry]
    width: float
    colors: frozenset[str]
    panel_width: float = 0.0

    @property
    def panel_rem(self) -> float:
        """The smallest width of a panel in a page, in units of its text's size."""
        return max(17.0, round(self.panel_width * _REM_PER_POINT, 1))


def draw_as_panels(figure: Figure, name: str, alts: Sequence[str]) -> Drawing:
    """Render a figure whose panels a page may lay out anew.

    Args:
        figure: The figure; its layout is fixed.
        name: Its name, unique in the page.
        alts: What each visible panel shows, in words.
    """
    panels = [axes for axes in figure.axes if axes.get_visible()]
    handles = figure.legends[0].legend_handles if figure.legends else []
    for index, axes in enumerate(panels):
        axes.set_gid(f"{_PANEL}{index}")
    for index, handle in enumerate(handles):
        if handle is not None:
            handle.set_gid(f"{_SWATCH}{index}")
    renderer = _fix_layout(figure)
    height = figure.get_figheight()
    boxes = [_to_box(axes.get_tightbbox(renderer), figure.dpi, height) for axes in panels]
    swatches = [
        _to_box(handle.get_window_extent(renderer), figure.dpi, height)
        for handle in handles
        if handle is not None
    ]
    files, root = _render(figure, name)
    groups = {group.get("id", ""): group for group in root.iter(f"{{{_SVG}}}g")}
    shared = [_inline(one) for one in root.findall(f"{{{_SVG}}}defs")]
    parts = []
    for index, (box, alt) in enumerate(zip(_align(boxes), alts, strict=True)):
        inner = _inline(groups[f"{_PANEL}{index}"])
        parts.append(_wrap(box, ("" if index else "".join(shared)) + inner, alt))
    labels = [text.get_text().strip() for text in figure.legends[0].texts] if handles else []
    legend = [
        LegendEntry(_wrap_swatch(box, _inline(groups[f"{_SWATCH}{index}"])), label)
        for index, (box, label) in enumerate(zip(swatches, labels, strict=True))
    ]
    colors, width = _colors(parts, legend), figure.get_figwidth()
    return Drawing(files, parts, legend, width, colors, _align(boxes)[0][2])


def draw_whole(figure: Figure, name: str, alt: str) -> Drawing:
    """Render a figure that a page shows in one piece."""
    _fix_layout(figure)
    files, root = _render(figure, name)
    width, height = (_POINTS * inches for inches in figure.get_size_inches())
    parts = [_wrap((0, 0, width, height), "".join(map(_inline, root)), alt)]
    return Drawing(files, parts, [], figure.get_figwidth(), _colors(parts, []))


def _fix_layout(figure: Figure) -> RendererBase:
    """Compute the layout once for all formats."""
    renderer: RendererBase = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    with use_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # glyphs missing in the font
        figure.draw_without_rendering()
    with use_style({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)  # "none" would draw each format twice
    return renderer


def _render(figure: Figure, name: str) -> tuple[dict[str, bytes], ET.Element]:
    """Render the files, and parse the SVG with titles and without superfluous digits and ids."""
    options = {
        **STYLE,
        "figure.constrained_layout.use": False,  # the layout is fixed
        "image.composite_image": False,  # composing would resample the pixels
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": name,
    }
    dates = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    files = {}
    with use_style(options), _without_layout_tables(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        for ending, metadata in dates.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, metadata=metadata)
            files[ending] = buffer.getvalue()
    root = ET.fromstring(files["svg"])
    _clean(root)
    ET.register_namespace("", _SVG)
    files["svg"] = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return files, root


@contextmanager
def _without_layout_tables() -> Iterator[None]:
    """Leave the layout tables out of embedded fonts, for which matplotlib has no option."""
    before = Options._drop_tables_default
    Options._drop_tables_default = [*before, *_LAYOUT_TABLES]
    try:
        yield
    finally:
        Options._drop_tables_default = before


def _clean(root: ET.Element) -> None:
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        for key, value in element.items():
            if key in ("d", "x", "y", "transform", "points"):
                element.set(key, _NUMBER.sub(_round, value).replace("\n", ""))
        if href := element.attrib.pop(_HREF, ""):
            element.set("href", href)
        if element.tag == f"{{{_SVG}}}g":
            _set_titles(element)


def _round(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _set_titles(group: ET.Element) -> None:
    """Replace a group's id by titles, and drop the ids to which nothing refers."""
    gid = group.attrib.pop("id", "")
    titles = parse_titles(gid)
    if gid.startswith((_PANEL, _SWATCH)):
        group.set("id", gid)
    if keeps_colors(gid):
        group.set("class", _KEPT)
    if len(titles) == 1:
        title = ET.Element(f"{{{_SVG}}}title")
        title.text = titles[0]
        group.insert(0, title)
    for mark, text in zip(group.iter(f"{{{_SVG}}}use"), titles, strict=False):
        if len(titles) > 1:
            ET.SubElement(mark, f"{{{_SVG}}}title").text = text


def _inline(element: ET.Element) -> str:
    """Serialize an element for HTML: the page's font, colors as variables, no namespace."""
    groups = [one for one in element.iter() if one.get("class") == _KEPT or one.tag == _PATTERN]
    kept = {one for group in groups for one in group.iter()}
    for group in element.iter():
        if group.get("id", "").startswith((_PANEL, _SWATCH)):
            del group.attrib["id"]
        if style := group.get("style"):
            plain = _DEFAULT.sub("", _FONT.sub("", style))
            varied = plain if group in kept else _COLOR.sub(r"var(--c\1)", plain)
            group.set("style", varied.replace(": ", ":").rstrip("; "))
        for child in group.findall(f"{{{_SVG}}}style"):  # a rule for every element of the page
            group.remove(child)
    text = ET.tostring(element, encoding="unicode", short_empty_elements=True)
    return re.sub(r">\s+<", "><", text.replace(f' xmlns="{_SVG}"', "")).strip()


def _wrap(box: _Box, inner: str, alt: str) -> str:
    x, y, width, height = box
    frame = f'viewBox="{x:.1f} {y:.1f} {width:.1f} {height:.1f}"'
    label = ET.Element("a", {"aria-label": alt})
    quoted = ET.tostring(label, encoding="unicode").removeprefix("<a ").removesuffix(" />")
    return f'<svg class="figure" role="img" {quoted} {frame}>{inner}</svg>'


def _wrap_swatch(box: _Box, inner: str) -> str:
    x, y, width, height = box
    middle = y + height / 2
    frame = f'viewBox="{x - 1:.1f} {middle - 5:.1f} {width + 2:.1f} 10"'
    return f'<svg class="swatch" aria-hidden="true" {frame}>{inner}</svg>'


def _to_box(box: Bbox | None, dpi: float, height: float) -> _Box:
    """Convert pixels from the lower left corner to points from the upper left one."""
    if box is None:
        return (0.0, 0.0, 1.0, 1.0)
    x, top = box.x0 / dpi * _POINTS, (height - box.y1 / dpi) * _POINTS
    return (x, top, box.width / dpi * _POINTS, box.height / dpi * _POINTS)


def _align(boxes: list[_Box]) -> list[_Box]:
    """Give panels one size, so that a page draws them at one scale, and rows one upper edge."""
    width = max(box[2] for box in boxes) + 2 * _MARGIN
    height = max(box[3] for box in boxes) + 2 * _MARGIN
    return [
        (x + own_width - width + _MARGIN, y + own_height - height + _MARGIN, width, height)
        for x, y, own_width, own_height in boxes
    ]


def _colors(panels: list[str], legend: list[LegendEntry]) -> frozenset[str]:
    texts = [*panels, *(entry.swatch for entry in legend)]
    return frozenset(color for text in texts for color in re.findall(r"var\(--c(\w{6})\)", text))
