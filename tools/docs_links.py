"""mkdocs hook: links from a page to a file of the repository outside docs/ become that file's name as code.

On the site there is nothing at the other end; in the repository the link works. A file that is not there
stays a link, which --strict then refuses.
"""

import re
from pathlib import Path

LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown, page, config, files):
    """Called by mkdocs with each page before it is rendered."""
    folder = Path(config["docs_dir"])

    def as_name(found):
        if not (folder / found[2]).exists():
            return found[0]
        return found[1] if found[1].startswith("`") else f"`{found[1]}`"

    return LINK.sub(as_name, markdown)
