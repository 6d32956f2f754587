"""Markdown that people wrote, as HTML: by markdown-it-py, without raw HTML, images and hidden characters.

Feedback speaks of Python, where `__init__` and `a * b * c` are no emphasis and a backslash is a backslash: of
its Markdown only code and lists are read. The owner's guide has all of CommonMark but raw HTML and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from ilf.annotate.show import plain


class _Marked(RendererHTML):
    """Hidden characters are shown; nothing of a text gets into an attribute but a link's address."""

    def text(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return str(plain(tokens[idx].content))

    def code_inline(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f"<code>{plain(tokens[idx].content)}</code>"

    def code_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f"<pre><code>{plain(tokens[idx].content)}</code></pre>\n"

    fence = code_block

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        href = str(tokens[idx].attrs.get("href", ""))
        return f'<a href="{plain(href) if href.isascii() else ""}" rel="noopener noreferrer">'


_WORDS = MarkdownIt("zero", {"html": False, "breaks": True}, renderer_cls=_Marked).enable(
    ["backticks", "fence", "code", "list", "newline"]
)
_GUIDE = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Marked).disable(["image", "html_inline"])


def markdown(text: str) -> Markup:
    """Feedback, with code and lists."""
    return Markup(_WORDS.render(text))


def guide(text: str) -> Markup:
    """The owner's guide; headings begin below the page's own."""
    tokens = _GUIDE.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return Markup(_GUIDE.renderer.render(tokens, _GUIDE.options, {}))
