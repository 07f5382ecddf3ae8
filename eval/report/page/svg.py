"""matplotlib's figures as SVG for a page: text stays text, colours follow the page's theme, and no style is inline.

matplotlib writes colours and strokes into style attributes, which a strict content security policy forbids and which no
theme can change. Here they become attributes, and the colours of PALETTE become classes ("f-ink", "s-m0") that the
page's style sheet gives their values.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GRID, PAPER, REAL, MARK, BAND = "#222222", "#dddddd", "#ffffff", "#999999", "#d22828", "#c8c8c9"
METHODS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9")  # Okabe & Ito's, yellow made darker
PALETTE = {
    INK: "ink",
    GRID: "grid",
    PAPER: "paper",
    REAL: "real",
    MARK: "mark",
    BAND: "band",
    **{colour: f"m{number}" for number, colour in enumerate(METHODS)},
}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def svg(figure: Figure, title: str, prefix: str) -> str:
    """The figure as an <svg> element.

    Args:
        title: a description for readers who cannot see the figure.
        prefix: of its ids; it must differ for every figure of a page.
    """
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lipscore"}):
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return themed(data.getvalue().decode(), title, prefix)


def themed(text: str, title: str, prefix: str) -> str:
    """matplotlib's SVG with classes instead of styles; the arguments are those of `svg`."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        for child in list(element):
            if _name(child) in ("metadata", "style"):
                element.remove(child)
    referenced = {value[5:-1] for one in root.iter() for value in one.attrib.values() if value.startswith("url(#")}
    referenced |= {one.attrib[f"{{{_XLINK}}}href"][1:] for one in root.iter() if f"{{{_XLINK}}}href" in one.attrib}
    for element in root.iter():
        _restyle(element)
        _rename(element, referenced, prefix)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib |= {"viewBox": box, "role": "img", "class": "chart", "aria-label": title}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode").replace("\n", "")


def _restyle(element: ElementTree.Element) -> None:
    """Turn the declarations of a style attribute into attributes, and the palette's colours into classes."""
    declared = element.attrib.pop("style", "")
    styles = dict(part.strip().split(": ", 1) for part in declared.split(";") if ": " in part)
    styles.pop("font", None)  # the page's own; every text of a chart has one size
    classes = []
    for kind in ("fill", "stroke"):
        colour = styles.get(kind)
        if colour in PALETTE:
            classes.append(f"{kind[0]}-{PALETTE[colour]}")
            del styles[kind]
    if _name(element) == "text" and "fill" not in styles and not any(one.startswith("f-") for one in classes):
        classes.append("f-ink")
    element.attrib |= styles
    if classes:
        element.set("class", " ".join(classes))


def _rename(element: ElementTree.Element, referenced: set[str], prefix: str) -> None:
    """Prefix the ids that are referred to, and remove the others."""
    for key, value in list(element.attrib.items()):
        if key == "id":
            del element.attrib[key]
            if value in referenced:
                element.set("id", f"{prefix}-{value}")
        elif value.startswith("url(#"):
            element.set(key, f"url(#{prefix}-{value[5:]}")
        elif key == f"{{{_XLINK}}}href":
            element.set(key, f"#{prefix}-{value[1:]}")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
