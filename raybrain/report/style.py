"""Style: the colours of pages and pictures in a light and a dark scheme, and how pictures are drawn to be read by people.

A picture is drawn once, in the colours of the light scheme. In a page it is inline SVG whose colours are the page's, so that
it follows the reader's scheme, prints well, and its words are found and read aloud; elsewhere it is a PNG::

    with styled():
        figure, axes = canvas(height=180)
        axes.bar(names, values, color=LIGHT["model"])
    page_picture = picture(figure, "top-10 accuracy of every subject, in percent")

Sizes are pixels of a page at phone width: what is read there is read everywhere.
"""

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from raybrain.console import plain

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WIDTH = 350  # pixels: what a phone of 390 leaves of its width
LIGHT = {
    "paper": "#ffffff",
    "panel": "#f4f6f9",
    "ink": "#1b2230",
    "quiet": "#56606f",
    "rule": "#d5dbe3",
    "model": "#1f63b5",
    "ridge": "#b4540a",
    "chance": "#6c7582",
    "good": "#1b7f4b",
    "odd": "#8f5f00",
    "bad": "#b3261e",
    "c2": "#0f7c86",
    "c3": "#8a3fa0",
    "c4": "#5d7a12",
    "c5": "#a3386c",
}
DARK = {
    "paper": "#12161d",
    "panel": "#1b212b",
    "ink": "#e7eaf0",
    "quiet": "#a5afbd",
    "rule": "#36404e",
    "model": "#6db3ff",
    "ridge": "#f6a45c",
    "chance": "#96a0ae",
    "good": "#5fcc92",
    "odd": "#e9bb4f",
    "bad": "#ff9087",
    "c2": "#52c7d1",
    "c3": "#d19be6",
    "c4": "#b3cf62",
    "c5": "#f090bd",
}
SERIES = tuple(LIGHT[name] for name in ("model", "ridge", "c2", "c3", "c4", "c5"))  # for models side by side, in this order
SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        what: what is seen, for people who see it and for those who do not.
        svg: the picture itself.
    """

    what: str
    svg: "Markup"


@contextmanager
def styled() -> Iterator[None]:
    """Draw as pages are to look; a dollar in the name of a study or a subject is a dollar."""
    import matplotlib
    from matplotlib.rcsetup import cycler

    ink, quiet, rule = LIGHT["ink"], LIGHT["quiet"], LIGHT["rule"]
    looks: Any = {
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "raybrain",
        "font.size": 12,
        "text.color": ink,
        "axes.labelcolor": quiet,
        "axes.labelsize": 12,
        "axes.titlesize": 13,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": rule,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=SERIES),
        "xtick.color": rule,
        "ytick.color": rule,
        "xtick.labelcolor": quiet,
        "ytick.labelcolor": ink,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "grid.color": rule,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.fontsize": 12,
        "lines.linewidth": 1.8,
        "figure.facecolor": LIGHT["paper"],
    }
    with matplotlib.rc_context(looks), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a page has other fonts
        yield


def canvas(width: float = WIDTH, height: float = 220, across: int = 1, down: int = 1) -> "tuple[Figure, list[Axes]]":
    """An empty figure, sizes in pixels of a page, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, list(figure.subplots(down, across, squeeze=False).ravel())


def shades(name: str) -> "Colormap":
    """From nothing to a colour of LIGHT, for maps that lie on the page whatever its scheme."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    colour = to_rgb(LIGHT[name])
    return LinearSegmentedColormap.from_list(name, [(*colour, 0.0), (*colour, 1.0)])


def picture(figure: "Figure", what: str) -> Picture:
    """A figure as SVG that stands in a page, in the page's colours."""
    from markupsafe import Markup

    root = ElementTree.fromstring(_saved(figure, "svg", transparent=True).decode())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):  # a style would hold for all of the page
                parent.remove(child)
    used = set(re.findall(r"#([\w-]+)", " ".join(value for item in root.iter() for value in item.attrib.values())))
    for item in root.iter():
        if item.get("id") not in used:
            item.attrib.pop("id", None)  # every figure has the same ones
        for key in ("style", "fill", "stroke"):
            if key in item.attrib:
                item.set(key, _variable(item.attrib[key]))
    width = re.sub(r"pt$", "", root.attrib.pop("width"))
    root.attrib.pop("height")
    root.set("role", "img")
    root.set("aria-label", plain(what))
    root.set("style", f"--width: {float(width):g}px")
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    return Picture(what, Markup(ElementTree.tostring(root, encoding="unicode")))  # in which all text is escaped


NAMES = {colour: name for name, colour in LIGHT.items()}


def _variable(style: str) -> str:
    """Colours of the light scheme as those of the page."""
    return re.sub(r"#[0-9a-f]{6}\b", lambda match: f"var(--{NAMES[match[0]]})" if match[0] in NAMES else match[0], style)


def png(figure: "Figure") -> bytes:
    """A figure as a PNG file, in the light scheme."""
    return _saved(figure, "png", dpi=180)


def data_uri(content: bytes) -> str:
    """A PNG file as an address that holds all of it, so that a page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _saved(figure: "Figure", form: str, **options: Any) -> bytes:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if (shown := plain(text.get_text())) != text.get_text():
            text.set_text(shown)
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None, **options)
    return content.getvalue()
