"""Several servers behind the engine `openai`: real processes on the loopback device, one killed mid-run."""

import json
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

pytest.importorskip("openai")

from server import start  # noqa: E402

from ilf.errors import ConfigError, ModelError  # noqa: E402
from ilf.prompts import Prompt  # noqa: E402
from ilf.sampling import SamplingParams, open_sampler  # noqa: E402
from ilf.sampling import servers as pools  # noqa: E402
from ilf.sampling.openai_engine import _retry_after  # noqa: E402
from ilf.sampling.servers import Budget, NoServer, Pool, Server  # noqa: E402

PROMPTS = [Prompt(f"def f{place}():\n") for place in range(60)]
PARAMS = SamplingParams(n=2, max_tokens=12)


def ordered(found):
    return sorted(found, key=lambda c: (c.prompt, c.index))


def stats(url):
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=5) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def expected():
    """What one healthy server says: answers depend on prompt and seed alone."""
    with start() as (url, _):
        return ordered(open_sampler("openai", "m", base_url=url).sample(PROMPTS, PARAMS))


def test_a_server_killed_mid_run_costs_nothing_but_time(expected, caplog):
    with start(seconds=0.05) as (one, _), start(seconds=0.05) as (two, process):
        sampler = open_sampler("openai", "m", base_url=[one, two], concurrency=4)
        found = []
        for completion in sampler.sample(PROMPTS, PARAMS):
            found.append(completion)
            if len(found) == 20:
                process.kill()
        assert ordered(found) == expected
        assert len(stats(one)["arrivals"]) > 30  # the other's work, too
    assert any("its work goes to the others" in record.message for record in caplog.records)


def test_a_server_that_comes_back_is_used_again(expected):
    with start(seconds=0.05) as (one, _), start(seconds=0.05) as (two, process):
        sampler = open_sampler("openai", "m", base_url=[one, two], concurrency=2)
        port = int(two.rsplit(":", 1)[1].removesuffix("/v1"))
        found = []
        samples = sampler.sample(PROMPTS, PARAMS)
        for _ in range(10):
            found.append(next(samples))
        process.kill()
        process.wait()
        for _ in range(10):
            found.append(next(samples))
        with start(port, seconds=0.01):
            found += samples
            assert ordered(found) == expected
            assert len(stats(two)["arrivals"]) > 3


def test_the_only_server_may_be_away_for_a_while(expected):
    with start(seconds=0.05) as (url, process):
        sampler = open_sampler("openai", "m", base_url=url, concurrency=4, retries=2)
        port = int(url.rsplit(":", 1)[1].removesuffix("/v1"))
        samples = sampler.sample(PROMPTS, PARAMS)
        found = [next(samples)]
        process.kill()
        process.wait()
        back = threading.Event()
        rest = []
        reader = threading.Thread(target=lambda: (rest.extend(samples), back.set()))
        reader.start()
        assert not back.wait(1.5)
        with start(port):
            assert back.wait(30)
        assert ordered(found + rest) == expected


def test_nobody_waits_longer_than_patience(expected):
    with start(seconds=0.05) as (one, first), start(seconds=0.05) as (two, second):
        sampler = open_sampler("openai", "m", base_url=[one, two], concurrency=2, patience=0.5)
        samples = sampler.sample(PROMPTS, PARAMS)
        next(samples)
        first.kill()
        second.kill()
        with pytest.raises(ModelError, match=r"(?s)APIConnectionError.*1 others.*0 s \(patience\)") as caught:
            list(samples)
        assert "\n" not in str(caught.value)


def test_a_server_that_refuses_for_load_gets_its_pause_and_the_other_the_work(expected):
    with start(seconds=0.03) as (one, _), start(seconds=0.1, most=2, retry_after="1") as (two, _):
        sampler = open_sampler("openai", "m", base_url=[one, two], concurrency=6, retries=1)
        assert ordered(sampler.sample(PROMPTS, PARAMS)) == expected
        arrivals = stats(two)["arrivals"]
        assert len(stats(one)["arrivals"]) > 40
    refused = [when for when, status in arrivals if status == 429]
    assert refused
    # After the first refusal only what was on its way already arrives within the second it asked for.
    soon = [when for when, _ in arrivals if refused[0] + 0.1 < when < refused[0] + 1]
    assert not soon


def test_concurrency_finds_what_the_server_takes(expected):
    with start(seconds=0.05, most=3, retry_after="0") as (url, _):
        sampler = open_sampler("openai", "m", base_url=url)
        assert ordered(sampler.sample(PROMPTS, PARAMS)) == expected
        (server,) = sampler._pool.servers
        assert 1 <= server.limit < 8
        refused = sum(status == 429 for _, status in stats(url)["arrivals"])
        assert 0 < refused < 30  # 60 were answered
    with start(seconds=0.02) as (url, _):
        sampler = open_sampler("openai", "m", base_url=url)
        list(sampler.sample(PROMPTS, PARAMS))
        assert 8 < stats(url)["peak"] <= 64


def test_the_faster_server_gets_more():
    with start(seconds=0.02) as (fast, _), start(seconds=0.2) as (slow, _):
        list(open_sampler("openai", "m", base_url=[fast, slow], concurrency=2).sample(PROMPTS, PARAMS))
        assert len(stats(fast)["arrivals"]) > 3 * len(stats(slow)["arrivals"])


def test_a_budget_of_requests_holds(monkeypatch):
    monkeypatch.setattr(pools, "_MINUTE", 1.0)
    with start() as (url, _):
        sampler = open_sampler("openai", "m", base_url=url, requests_per_minute=10)
        list(sampler.sample(PROMPTS[:25], PARAMS))
        times = [when for when, _ in stats(url)["arrivals"]]
    assert len(times) == 25
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[10:]))


def test_a_budget_of_tokens_counts_what_was_taken():
    budget = Budget(tokens=100)
    assert budget.wait(500, 0) == 0  # larger than the budget: alone
    entry = budget.take(80, 0)
    assert budget.wait(30, 10) == 50
    budget.correct(entry, 60)
    assert budget.wait(30, 10) == 0
    budget.take(30, 10)
    assert budget.wait(50, 20) == 40
    assert budget.wait(80, 20) == 50
    assert budget.wait(80, 70) == 0
    budget.correct(entry, 1000)  # long out of the window
    assert budget.wait(100, 70) == 0


class Client:
    base_url = "http://x/v1"


def test_limits_rise_by_one_a_round_and_halve_once_a_round():
    now = [0.0]
    server = Server(Client(), 4, 6)
    pool = Pool([server], Budget(), 6, 300, lambda: now[0])
    free = threading.Event()
    for _ in range(5):  # rounds
        tickets = [pool.acquire(1, free) for _ in range(int(server.limit))]
        now[0] += 1
        before = int(server.limit)
        for ticket in tickets:
            pool.done(ticket, None)
        # Only the request that filled the limit counts towards more.
        assert before <= int(server.limit) <= before + 1
    while server.limit < 6:
        tickets = [pool.acquire(1, free) for _ in range(int(server.limit))]
        for ticket in tickets:
            pool.done(ticket, None)
    tickets = [pool.acquire(1, free) for _ in range(6)]
    now[0] += 1
    for ticket in tickets:
        pool.failed(ticket, "overload", ValueError(), 0.0)
    assert server.limit == 3
    assert server.in_flight == 0


def test_what_asks_for_too_long_is_not_waited_for():
    pool = Pool([Server(Client(), 1, 1)], Budget(), 6, 300, lambda: 0.0)
    pool.failed(pool.acquire(1, threading.Event()), "overload", ValueError("quota"), 86_400)
    with pytest.raises(NoServer, match="Retry-After"):
        pool.acquire(1, threading.Event())


def test_retry_after_is_a_number_or_a_date():
    class Error(Exception):
        def __init__(self, **headers):
            self.response = type("Response", (), {"headers": headers})

    assert _retry_after(Error(**{"retry-after": "7"})) == 7
    assert _retry_after(Error(**{"retry-after-ms": "70"})) == 0.07
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 18 < _retry_after(Error(**{"retry-after": date})) <= 20
    assert _retry_after(Error(**{"retry-after": "soon"})) is None
    assert _retry_after(Error()) is None
    assert _retry_after(Exception()) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": []}, r"base_url: \[\]"),
        ({"base_url": ["localhost:8000"]}, "base_url: 'localhost:8000'"),
        ({"base_url": ["http://a/v1", "http://a/v1/"]}, "names a server twice"),
        ({"base_url": 5}, "base_url: 5"),
        ({"requests_per_minute": 0}, "requests_per_minute = 0"),
        ({"tokens_per_minute": "many"}, "tokens_per_minute = 'many'"),
        ({"concurrency": 2.5}, r"concurrency = 2\.5"),
        ({"timeout": 0}, "timeout = 0"),
        ({"patience": -1}, "patience = -1"),
        ({"retries": "a"}, "retries = 'a'"),
    ],
)
def test_wrong_options_are_one_line(options, said):
    with pytest.raises(ConfigError, match=said) as caught:
        open_sampler("openai", "m", **options)
    assert "\n" not in str(caught.value)
