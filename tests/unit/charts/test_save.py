import json
import re
import struct
import zlib

import pytest

from switchyard.charts.panels import PANELS
from switchyard.charts.save import DPI, save

STAMP = {"code": "a </script> & <b>", "config": {"alpha": 0.3}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from reference import made_up_study
    from switchyard.warehouse.study_tables import Tables

    tables = Tables(**made_up_study.tables())
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    return [save(PANELS["heatmap"](tables), folder, "heatmap", STAMP) for folder in folders]


def chunks(png):
    place = 8
    while place < len(png):
        (size,) = struct.unpack_from(">I", png, place)
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", png, place + 8 + size)[0] == zlib.crc32(kind + body)
        yield kind, body
        place += 12 + size


def test_same_bytes_twice(saved):
    first, second = saved
    assert [path.name for path in first] == ["heatmap.svg", "heatmap.png", "heatmap.html"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_png_has_the_dots_it_claims(saved):
    svg, png, _ = saved[0]
    found = dict(chunks(png.read_bytes()))
    per_metre, _, unit = struct.unpack(">IIB", found[b"pHYs"])
    assert unit == 1 and round(per_metre * 0.0254) == DPI
    width, _ = struct.unpack_from(">II", found[b"IHDR"])
    css = float(re.search(r'width="([\d.]+)"', svg.read_text()).group(1))
    assert abs(width - css / 96 * DPI) <= 2


def test_every_format_carries_the_stamp(saved):
    svg, png, page = saved[0]
    assert json.loads(dict(chunks(png.read_bytes()))[b"iTXt"].split(b"\0\0\0\0\0")[1]) == STAMP
    text = re.search(r'<metadata id="switchyard">(.*?)</metadata>', svg.read_text()).group(1)
    assert json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")) == STAMP
    block = re.search(
        r'<script type="application/json" id="switchyard">(.*?)</script>', page.read_text()
    ).group(1)
    assert json.loads(block) == STAMP


def test_html_needs_no_network(saved):
    page = saved[0][2].read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    assert '"editor": false' in page
