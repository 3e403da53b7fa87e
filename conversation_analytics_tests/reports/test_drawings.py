from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest

from conversation_analytics.reports import charts
from conversation_analytics.reports.drawings import Drawing, as_markdown, picture
from conversation_analytics_tests.reports.test_report_files import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def drawing_of(names: list[str]) -> Drawing:
    rows = [charts.Row(name, (float(n),), (name,)) for n, name in enumerate(names)]
    return charts.bars("Turns", rows, series=("turns",), x_title="turns")


def stacked(*values: tuple[float, ...]) -> str:
    points = [charts.Point(str(n), one, "") for n, one in enumerate(values)]
    return charts.stacked(
        "x", points, series=("a", "b", "c"), x_title="week", y_title="users"
    ).in_page()


def boxes(drawing: str, style: str) -> list[tuple[float, float]]:
    """Return top and height of the bars of a style."""
    found = re.findall(rf'<rect class="{style}"[^>]* y="([^"]*)"[^>]* height="([^"]*)"', drawing)
    return [(float(top), float(height)) for top, height in found]


def test_a_picture_is_one_document_that_holds_hostile_names_as_text() -> None:
    names = [name or "none" for name in HOSTILE]
    text = picture("A <day> & night", [drawing_of(names), drawing_of(names)])
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == f"{SVG}svg"
    assert {one.tag.removeprefix(SVG) for one in root.iter()} <= {
        "svg", "title", "style", "rect", "text", "line", "circle", "path",
    }  # fmt: skip
    assert not [
        name for one in root.iter() for name in one.attrib if "href" in name or name == "src"
    ]
    assert "url(" not in text
    assert len(root.findall(f"{SVG}svg")) == 2
    assert root.findtext(f"{SVG}title") == "A <day> & night"


def test_a_picture_has_nothing_that_only_a_page_can_use() -> None:
    drawing = drawing_of(["app"])
    assert "<title>" in drawing.in_page()
    assert "<title>" not in drawing.marks
    text = picture("A day", [drawing])
    assert text.count("<title>") == 1
    assert "hit" not in text


def test_drawings_stand_side_by_side_and_do_not_overlap() -> None:
    root = ET.fromstring(picture("A day", [drawing_of(["a", "b"])] * 3))  # noqa: S314 - our own
    places = [
        [float(one.attrib[name]) for name in ("x", "y", "width", "height")]
        for one in root.findall(f"{SVG}svg")
    ]
    first, second, third = places
    assert first[0] + first[2] <= second[0]
    assert first[1] == second[1]
    assert first[1] + first[3] <= third[1]
    assert second[0] + second[2] <= float(root.attrib["width"])
    assert third[1] + third[3] <= float(root.attrib["height"])


def test_no_drawings_are_told_and_the_markdown_is_one_image_of_it() -> None:
    assert "No turns." in picture("A day", [])
    text = as_markdown("A ]day](http://evil.example)", [])
    found = re.fullmatch(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", text)
    assert found
    assert base64.b64decode(found[2]).decode() == picture("A ]day](http://evil.example)", [])


def test_stacked_bars_stand_on_each_other_and_the_last_hangs_below_the_axis() -> None:
    drawing = stacked((3, 1, 2), (0, 4, 0))
    (low_top, low), (up_top, up), (_, other) = (*boxes(drawing, "s1"), *boxes(drawing, "s3"))
    (below_top, below) = boxes(drawing, "s4")[0]
    assert round(up_top + up, 2) == low_top
    assert round(low_top + low, 2) == below_top
    assert (low, other, below) == pytest.approx((3 * up, 4 * up, 2 * up), abs=0.02)
    assert len(boxes(drawing, "s1")) == 1  # a zero has no bar
    assert "nan" not in stacked((0, 0, 0))
