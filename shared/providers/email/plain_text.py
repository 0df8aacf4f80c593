"""From HTML to the text that a reader without HTML sees: every word that a browser shows, and every address.

The markup is cut into tokens as browsers do it (WHATWG's rules, by turbohtml). No tree is built of them: repairing one
is where parsers take quadratic time, and text needs none. So the time follows the length, whatever the markup is like:
30 ms of CPU for the longest content that the API takes, at most, and 0.35 s for a mebibyte.
"""

import re
from typing import Final

import turbohtml
from turbohtml import Token, TokenType

UNSHOWN_TAGS: Final = frozenset({"style", "script", "title", "iframe", "noembed", "noframes"})
"""What stands in these is text to the tokenizer and nothing to a reader."""

LINE_TAGS: Final = frozenset(
    {
        "address",
        "article",
        "aside",
        "body",
        "button",
        "caption",
        "center",
        "dd",
        "details",
        "dir",
        "div",
        "dt",
        "fieldset",
    }
    | {"figcaption", "figure", "footer", "form", "header", "hgroup", "legend", "li", "main", "nav", "option", "section"}
    | {"summary", "tbody", "tfoot", "thead", "tr"}
)
PARAGRAPH_TAGS: Final = frozenset(
    {"blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "menu", "ol", "p", "pre", "table", "ul", "xmp"}
)
CELL_TAGS: Final = frozenset({"td", "th"})
LIST_TAGS: Final = frozenset({"ol", "ul", "menu", "dir"})
AS_WRITTEN_TAGS: Final = frozenset({"pre", "textarea", "xmp", "plaintext", "listing"})

DEEPEST_INDENT: Final = 6
"""Lists inside lists: deeper ones are indented no further, or their blanks would outgrow the mail."""

SPACE: Final = re.compile(r"\s+")
NOSCRIPT: Final = re.compile(r"<(/?)noscript\b", re.IGNORECASE)
TITLE: Final = re.compile(r"<title\b", re.IGNORECASE)
IN_ADDRESSES: Final = re.compile(r"[\t\r\n]")  # browsers take them out
NO_ADDRESS: Final = re.compile(r"#|(?:javascript|vbscript|data):", re.IGNORECASE)
CALLED_OR_WRITTEN_TO: Final = re.compile(r"(?:mailto|tel|sms):", re.IGNORECASE)


def text_of_html(html: str) -> str:
    """A link's address follows its text, list items have marks, preformatted lines stay, images are their `alt`."""
    writer = _Writer()
    for token in turbohtml.tokenize(_as_mail_readers_take_it(html)):
        writer.take(token)
    return writer.text()


def _as_mail_readers_take_it(html: str) -> str:
    """They run no scripts, so `noscript` is shown; and a title that nobody ends hides the whole mail only from us."""
    html = NOSCRIPT.sub(r"<\1div", html)
    end_of_titles = html.lower().rfind("</title") + 1
    return html[:end_of_titles] + TITLE.sub("<div", html[end_of_titles:])


class _Writer:
    """Lines as they grow, token by token."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._ends_in_space = True  # of the line; an empty one needs no space in front
        self._is_as_written = False  # of the line: some of it is preformatted
        self._mark = ""  # of a list item whose first words have not come
        self._lists: list[int | None] = []  # those that are open: the number of an `ol`'s next item
        self._unshown = ""  # the tag that hides what comes
        self._as_written: list[str] = []  # preformatted elements that are open
        self._link: str | None = None  # the address of the open link
        self._link_words: list[str] = []

    def take(self, token: Token) -> None:
        if token.type is TokenType.TEXT:
            if not self._unshown and token.data:
                self._write(token.data)
        elif token.type is TokenType.START_TAG:
            self._begin(token, token.tag or "")
        elif token.type is TokenType.END_TAG:
            self._end(token.tag or "")

    def text(self) -> str:
        self._end_link()
        self._end_line()
        return "\n".join(self._lines).strip("\n") + "\n"

    def _begin(self, token: Token, tag: str) -> None:
        if tag in UNSHOWN_TAGS:
            self._unshown = tag
        elif tag == "br":
            self._end_line(is_wanted=True)
        elif tag == "a":
            if self._link:
                self._end_link()
                self._add(" ")
            self._link, self._link_words = _address(token), []
        elif tag == "area":
            self._write_aside(_attribute(token, "alt"))
            self._write_address(_address(token), "")
        elif tag in {"img", "input"}:
            self._write_aside(_attribute(token, "alt"))
        elif tag in CELL_TAGS:
            self._write(" ")
        elif tag in PARAGRAPH_TAGS or tag in LINE_TAGS:
            self._begin_block(token, tag)
        if tag in AS_WRITTEN_TAGS:
            self._as_written.append(tag)

    def _begin_block(self, token: Token, tag: str) -> None:
        self._end_line(is_paragraph=tag in PARAGRAPH_TAGS and not self._lists)
        if tag in LIST_TAGS:
            self._lists.append((_number(token, "start") or 1) if tag == "ol" else None)
        elif tag == "li":
            self._mark = self._next_mark(_number(token, "value"))

    def _next_mark(self, value: int | None) -> str:
        indent = "  " * min(len(self._lists) - 1, DEEPEST_INDENT)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{indent}- "
        number = value or number
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _end(self, tag: str) -> None:
        if tag == self._unshown:
            self._unshown = ""
        elif tag == "a":
            self._end_link()
        elif tag == "br":  # browsers take it for a break
            self._end_line(is_wanted=True)
        elif tag in PARAGRAPH_TAGS or tag in LINE_TAGS:
            if tag in LIST_TAGS and self._lists:
                self._lists.pop()
            self._end_line(is_paragraph=tag in PARAGRAPH_TAGS and not self._lists)
        if self._as_written and tag == self._as_written[-1]:
            self._as_written.pop()

    def _write(self, words: str) -> None:
        if self._link is not None:
            self._link_words.append(words)
        if not self._as_written:
            self._add(SPACE.sub(" ", words))
            return
        first, *others = words.splitlines() or [""]
        self._add_as_written(first)
        for line in [*others, *([""] if words.endswith(("\n", "\r")) and words.strip("\r\n") else [])]:
            self._end_line(is_wanted=True)
            self._add_as_written(line)

    def _write_aside(self, words: str | None) -> None:
        if words:
            self._write(f" {words} ")

    def _add(self, words: str) -> None:
        if self._ends_in_space and words.startswith(" "):
            words = words[1:]
        if words:
            self._put_mark()
            self._line.append(words)
            self._ends_in_space = words.endswith(" ")

    def _add_as_written(self, words: str) -> None:
        if words:
            self._put_mark()
            self._is_as_written = True
            self._line.append(words)
            self._ends_in_space = words[-1].isspace()

    def _put_mark(self) -> None:
        if self._mark:
            self._line.append(self._mark)
            self._is_as_written = True
            self._mark = ""

    def _end_link(self) -> None:
        address, self._link = self._link, None
        if address is not None:
            self._write_address(address, SPACE.sub(" ", "".join(self._link_words)).strip())

    def _write_address(self, address: str, words: str) -> None:
        """Unless the words of the link are the address."""
        if address and words not in {address, CALLED_OR_WRITTEN_TO.sub("", address, count=1)}:
            self._add(f"({address})" if self._ends_in_space else f" ({address})")

    def _end_line(self, *, is_wanted: bool = False, is_paragraph: bool = False) -> None:
        """`is_wanted`: even an empty one; of those at most one in a row is kept."""
        line = "".join(self._line)
        line = line.rstrip() if self._is_as_written else line.strip()
        self._line, self._ends_in_space, self._is_as_written = [], True, False
        if line:
            self._lines.append(line)
        if (is_paragraph or (is_wanted and not line)) and self._lines and self._lines[-1]:
            self._lines.append("")


def _attribute(token: Token, name: str) -> str | None:
    """Browsers take the first of several."""
    return next((value for key, value in token.attrs or () if key == name), None)


def _address(token: Token) -> str:
    """Where a link leads to; empty where that is nowhere outside the mail."""
    address = IN_ADDRESSES.sub("", _attribute(token, "href") or "").strip()
    return "" if NO_ADDRESS.match(address) else address


def _number(token: Token, name: str) -> int | None:
    digits = (_attribute(token, name) or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
