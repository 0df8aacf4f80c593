"""HTML as people and attackers write it: its text has every word and every address, whatever the markup is like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.email.plain_text import text_of_html

LONGEST = 64_230
"""Characters: more than that the API takes for no content."""


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<html><head><title>x</title><body><p>Hello</p></body></html>", "Hello\n"),
        ("<head><title>x</title><head><p>Hello", "Hello\n"),
        ("<title>never ended<body><p>Hello", "never ended\n\nHello\n"),
        ("<title>a</title><p>Hello<title>b</title> you", "Hello you\n"),
        ("<style>p { color: red }</style>Hello<script>if (a<b) c()</script> you", "Hello you\n"),
        ("<p>Hello<![word x]> you", "Hello you\n"),
        ("<!--[if mso]>Outlook<![endif]--><![if !mso]>all<![endif]>", "all\n"),
        ("<noscript>Hello <b>you</b></noscript>", "Hello you\n"),
        ("</p></div></a></ul>Hello", "Hello\n"),
        ("Tom &amp; Jerry &lt;3 &copy 2026", "Tom & Jerry <3 © 2026\n"),
        ("<", "<\n"),
        ("", "\n"),
    ],
)
def test_markup_in_any_state_is_read_as_browsers_do(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="https://example.org/b?c=1&amp;d=2">read</a> on', "read (https://example.org/b?c=1&d=2) on\n"),
        ('<a href="mailto:help@example.org">write</a>', "write (mailto:help@example.org)\n"),
        ('<a href="mailto:help@example.org">help@example.org</a>', "help@example.org\n"),
        ("<a href=tel:+15550100>call</a>", "call (tel:+15550100)\n"),
        ('<A HREF="HTTPS://EXAMPLE.ORG/a">see</A>', "see (HTTPS://EXAMPLE.ORG/a)\n"),
        ('<a href=" https://example.org/\n b ">see</a>', "see (https://example.org/ b)\n"),
        ('<p><a href="https://example.org/b">never closed', "never closed (https://example.org/b)\n"),
        ('<a href="//a.org">one <a href="//b.org">two</a>', "one (//a.org) two (//b.org)\n"),
        ('<a href="https://example.org">https://<b>example.org</b></a>', "https://example.org\n"),
        ('<a href="https://example.org"><img src=x alt="Our shop"></a>', "Our shop (https://example.org)\n"),
        ('<a href="https://example.org"><div>See</div></a>', "See\n(https://example.org)\n"),
        ('<a href="#top">up</a> <a name="x">here</a> <a href="javascript:x()">run</a>', "up here run\n"),
        ('<map><area alt="North" href="/north"></map>', "North (/north)\n"),
    ],
)
def test_links_keep_their_addresses(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<pre>one\n  two\n\n\nfour</pre>", "one\n  two\n\nfour\n"),
        ("a<pre>\n  b\n</pre>c", "a\n\n  b\n\nc\n"),
        ("<ul><li>one</li><li>two</ul>after", "- one\n- two\n\nafter\n"),
        ("<ol start=3><li>one<li>two<li value=9>nine<li>ten", "3. one\n4. two\n9. nine\n10. ten\n"),
        ("<ul><li>a<ol><li>b</ol><li><p>c</p></ul>", "- a\n  1. b\n- c\n"),
        ("<ol start=99999999999999999999><li>a", "1. a\n"),
        ("<li>alone", "- alone\n"),
        ("<table><tr><td>a</td><td>b<tr><th>c<th>d</table>", "a b\nc d\n"),
        ("<h1>Title</h1><p>one</p><p>two<br>three", "Title\n\none\n\ntwo\nthree\n"),
        ("<div>one</div><div>two</div>", "one\ntwo\n"),
        ('50 %<img alt="Sale">off', "50 % Sale off\n"),
        ("  many \n\t blanks  ", "many blanks\n"),
    ],
)
def test_lines_lists_and_images_stay_apart(html: str, text: str) -> None:
    assert text_of_html(html) == text


HOSTILE = [
    "<a ",
    '<a b="',
    "<!--",
    "<![",
    "<![word x]>",
    "<",
    "</",
    "&",
    "&#",
    "<b>",
    "<b><i>",
    "<b><i></b>",
    "<b><div></b>",
]
HOSTILE += [
    "<div>",
    "<p>",
    "<table><tr><td>",
    "<table>x<b>",
    "<ul><li>x",
    "<pre>\n",
    "<a href=x>y",
    "<title>",
    "<noscript>",
]
HOSTILE += [
    "<script><!--",
    "<svg>",
    "<option>",
    "<svg><style>",
    "<textarea>",
    "\n",
    " ",
    "=",
    "<a a",
    "<img alt='",
    "<br>",
    "\0",
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("start", ["", "<ul>" * 8_000, "<a href=z>", "<table>" * 4_000, "<a ", "<b>" * 9_000])
def test_hostile_markup_becomes_no_more_than_a_mail(start: str, piece: str) -> None:
    """Each of them once took an HTML parser of ours, or one that we looked at, a time or a memory beyond bounds."""
    html = (start + piece * LONGEST)[:LONGEST]
    assert len(text_of_html(html)) < 10 * LONGEST


TAGS = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<b>",
        "</b>",
        "<td>",
        "</table>",
        "<li>",
        "<ol>",
        "</ol>",
        "<br/>",
        "<pre>",
        "</pre>",
        "<head>",
        "<body>",
        "</html>",
        "<a>",
        "</a>",
        "<a/href='u'>",
        "<!--c-->",
        "<![if]>",
        "<?php?>",
        "<!DOCTYPE>",
    ]
)


@given(st.lists(st.one_of(st.from_regex(r"[a-z]{1,8}", fullmatch=True), TAGS), max_size=40))
def test_every_word_is_kept_in_its_order(pieces: list[str]) -> None:
    text = text_of_html(" ".join(pieces)).split()
    words = iter(text)
    assert all(word in words for word in pieces if not word.startswith("<"))


@given(st.text(alphabet=st.sampled_from("<>/!-[]&#;=\"' abprestiyl\n\t\r\0\ud800é")))
def test_no_text_is_too_odd_to_be_read(html: str) -> None:
    assert text_of_html(html).endswith("\n")
