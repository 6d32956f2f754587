"""Markdown in a safe subset, the owner's guide, earlier feedback on the task."""

import re

from annotate_pages import fields
from annotate_samples import make_failures, make_tasks
from hypothesis import given
from hypothesis import strategies as st

from ilf.annotate import accounts, queue
from ilf.annotate.answers import Draft
from ilf.annotate.markdown import guide, markdown

ALLOWED = re.compile(
    r'<(?:/?(?:p|ul|ol|li|pre|code|em|strong|h[2-6]|blockquote|a|span)|br /|br|hr /|ol start="\d+"'
    r'|span class="hidden-char" title="[^"<>]*"|a href="[^"<>]*" rel="noopener noreferrer")>'
)
PARTS = [*"<>\"'&`*_-#[]()!\\/:\n =\u202e\0a1.~", "javascript:", "http://", "```"]
EVIL = st.lists(st.sampled_from(PARTS), max_size=40).map("".join)


@given(EVIL)
def test_nothing_but_the_subset_comes_out(text):
    for render in (markdown, guide):
        left = ALLOWED.sub("", render(text))
        assert not re.search(r"[<>\u202e\0]", left), (render, text)
        assert not re.search(r'href="(?!https?:|mailto:|[^":]*")', render(text)), text


def test_python_in_words_stays_python():
    said = "Line 4: __init__ takes a * b * c, and \\d+ is a regex.\nUse `self.x`.\n\n- first\n- second\n\nThen\n\n    x = 1\n"
    page = markdown(said)
    assert "__init__ takes a * b * c, and \\d+ is a regex.<br>" in page
    assert "<code>self.x</code>" in page and page.count("<li>") == 2 and "<pre><code>x = 1" in page


def test_the_owners_words_stand_on_the_guide(site):
    ann, boss = site.person("Ann"), site.person("Boss", "owner")
    form = fields(boss.get("/guide").text)
    text = "# House rules\nBe *kind*. <script>alert(1)</script> [More](https://example.org/x)"
    assert boss.post("/guide", data={**form, "guide": text}).status_code == 200
    page = ann.get("/guide").text
    assert (
        "<h2>House rules</h2>" in page and "<em>kind</em>" in page and 'href="https://example.org/x"' in page
    )
    assert "<script>alert" not in page and "own-guide" not in page
    assert ann.post("/guide", data={**fields(ann.get("/work").text), "guide": "x"}).status_code == 403
    long = boss.post("/guide", data={**form, "guide": "x" * 20_001})
    assert long.status_code == 422 and "at most 20,000" in long.text


def test_earlier_rounds_are_shown_and_this_one_is_not(site):
    store = site.store
    store.configure(overlap=2)
    ann, ben = accounts.named(store, "Ann"), accounts.named(store, "Ben")
    queue.submit(store, ann, queue.claim(store, ann), Draft(text="Said in round one by Ann."))
    ben_page = site.person("Cy")
    assert "Said in round one" not in ben_page.get("/work").text
    tasks = make_tasks(1)
    store.fill(tasks, *make_failures(tasks), round=2)
    item = queue.claim(store, ben)
    assert queue.look(store, ben, item).item.round == 2
    page = site.person("Dee").get("/work").text
    assert "Earlier feedback on this task" in page and "Said in round one by Ann." in page
