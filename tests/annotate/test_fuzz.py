"""A schema-driven fuzzer against the API: whatever it sends, there is no error of ours."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import quote

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from annotate_pages import Site, fields  # noqa: E402
from annotate_samples import make_failures, make_tasks  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance  # noqa: E402

from ilf.annotate.pages import account, dashboard, lists, reviewing, talking, team, work  # noqa: E402
from ilf.annotate.store import Store  # noqa: E402


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("fuzz") / "a.db")
    tasks = make_tasks(5)
    store.fill(tasks, *make_failures(tasks))
    site = Site(store, runs_per_minute=100_000, logins_per_minute=100_000)
    headers = site.key("owner", "owner")
    key = headers["authorization"]
    assert site.browser().post("/api/v1/claim", headers={"authorization": key}).status_code == 200
    site.authorization = key
    return site


def test_no_request_is_answered_with_a_server_error(fuzzed):
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", fuzzed.app)
    seen: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @given(case=st.one_of(modes))
        @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def fuzz(case):
            if isinstance(case.path_parameters.get("item_id"), int):
                case.path_parameters["item_id"] %= 3  # one that exists, more often than chance would have it
            reply = case.call(headers={"authorization": fuzzed.authorization})
            case.validate_response(
                reply, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
            )
            seen[case.operation.label] += 1
            statuses[reply.status_code] += 1

        fuzz()
    assert len(seen) == 12, seen
    assert statuses[200] > 20 and statuses[422] > 20, statuses  # it got through to the code behind


NAMES = (
    "a answer b back batch bugs candidate category comment decision do expression how idle_minutes key kind name note "
    "order overlap page person reason refinement role row scope seconds seen tags target text theme version"
).split()
"""Fields of the pages' forms."""
WORDS = st.one_of(
    st.integers(),
    st.sampled_from(
        [0, 1, 2, -1, 2**31, 2**63, 2**64, 10**400, "nan", "inf", "1e999", "accept", "return", "owner"]
    ),
    st.text(max_size=30),
).map(str)


def test_no_page_is_answered_with_a_server_error(fuzzed):
    """Every page and form, with numbers of any size, by somebody who may do everything."""
    owner = fuzzed.person("Olga", "owner")
    csrf = fields(owner.get("/work").text)["csrf"]
    pages = [
        (method, route.path)
        for module in (account, work, lists, reviewing, talking, team, dashboard)
        for route in module.router.routes
        for method in sorted(route.methods & {"GET", "POST"})
        if "join" not in route.path and "sign" not in route.path  # they would end the session
    ]
    statuses: Counter[int] = Counter()

    @given(st.sampled_from(pages), st.data())
    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def fuzz(page, data):
        method, path = page
        part = st.one_of(st.integers(1, 5).map(str), WORDS)
        filled = re.sub(r"{\w+}", lambda _: quote(data.draw(part), safe="") or "0", path)
        sent = data.draw(st.dictionaries(st.sampled_from(NAMES), WORDS, max_size=6))
        if method == "GET":
            asked = data.draw(
                st.dictionaries(st.sampled_from(["done", "skipped", *NAMES]), WORDS, max_size=3)
            )
            reply = owner.get(filled, params=asked)
        else:
            reply = owner.post(filled, data={"csrf": csrf, **sent})
        statuses[reply.status_code] += 1
        assert reply.status_code < 500, (method, filled, sent, reply.text[:500])

    fuzz()
    assert len(pages) > 15, pages
    assert statuses[200] > 40 and statuses[404] > 20, statuses
