"""Does the page stand on its own, with every table in it and nothing that a name could break?"""

import re

from spamguard_training.sheet import Section, page

PNG = b"\x89PNG\r\n\x1a\nnot really"


def test_a_page_needs_nothing_from_anywhere() -> None:
    text = page("m/1", "lead", ["careful"], [Section("T", ("a", "b"), [("x", "1")], "note")], {"roc": PNG})
    assert 'src="data:image/png;base64,' in text
    assert not re.findall(r"https?://|<script|<link|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    for said in ("careful", "<h2>T</h2>", "<td>x</td>", "note"):
        assert said in text


def test_names_are_written_as_they_are_and_never_as_markup() -> None:
    section = Section("<b>", ("<i>",), [("来源<script>&",)], "<u>")
    text = page("<title>", "<p>", ["<em>"], [section], {})
    assert "来源&lt;script&gt;&amp;" in text
    assert not re.search(r"<(b|i|u|em|script)>", text)
