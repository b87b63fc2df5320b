"""Whatever is not markup is text."""

from __future__ import annotations

from regraft.report.markup import Html, join, jpeg, lines, table, tag, text


def test_text_is_escaped_once() -> None:
    assert text("<b> & \"'") == "&lt;b&gt; &amp; &quot;&#x27;"
    assert text(text("<b>")) == "&lt;b&gt;"
    assert tag("p", "<i>", Html("<i>"), class_='"x') == '<p class="&quot;x">&lt;i&gt;<i></p>'


def test_what_no_screen_shows_is_spelled_out() -> None:
    assert text("a\x1b[31m\nb\u202e\udcff") == r"a\x1b[31m\nb\u202e\udcff"


def test_several_lines_stay_lines() -> None:
    assert lines("a\n<b>\x07") == "a\n&lt;b&gt;\\x07"


def test_a_number_and_its_percent_sign_stay_together() -> None:
    assert text("3 % of it") == "3&nbsp;% of it"


def test_attributes_without_a_value_and_empty_elements() -> None:
    assert tag("img", src=jpeg(b"\xff"), alt=None) == '<img src="data:image/jpeg;base64,/w==">'
    assert join([None, 1, "<"]) == "1&lt;"


def test_a_tables_first_column_names_its_rows() -> None:
    made = table(("class", "n"), [("<a>", 3)], "Counts")
    assert '<th scope="row">&lt;a&gt;</th><td>3</td>' in made
    assert '<th scope="col">class</th>' in made
    assert "<caption>Counts</caption>" in made
