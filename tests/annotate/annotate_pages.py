"""The annotation server in this process, and people signed in to it."""

import html
import re

from annotate_samples import FakeVerifier

from ilf.annotate.store import Store


class Site:
    """A running app (in this process) and people signed in to it."""

    def __init__(self, store: Store, **options) -> None:
        from ilf.annotate.app import create_app
        from ilf.annotate.checker import Checker
        from ilf.annotate.web import Options

        self.store = store
        self.verifier = FakeVerifier()
        self.options = Options(url="http://testserver", **options)
        self.app = create_app(store, Checker(self.verifier), self.options)

    def browser(self):
        from starlette.testclient import TestClient

        return TestClient(self.app, follow_redirects=True)

    def person(self, name: str, role: str = "annotator"):
        """A browser signed in as a new person."""
        from ilf.annotate import accounts

        browser = self.browser()
        token = accounts.invite(self.store, role)
        assert browser.post(f"/join/{token}", data={"name": name}).status_code == 200
        return browser

    def key(self, name: str, role: str = "annotator") -> dict[str, str]:
        """Headers of a program that acts for a new person."""
        from ilf.annotate import accounts

        person = accounts.named(self.store, name, role)
        return {"authorization": f"Bearer {accounts.make_key(self.store, person, 'test', person)}"}


def fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's main form, and its CSRF token."""
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    return {name: html.unescape(value) for name, value in found.items() if name != "seconds"}
