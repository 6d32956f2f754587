from hypothesis import given, settings
from hypothesis import strategies as st

from ilf.training.packing import Pack, Row, batches, packs, padded_packs

tokens = st.lists(st.integers(1, 50), max_size=12).map(tuple)
rows = st.lists(
    st.builds(
        Row,
        prompt=st.sampled_from([(), (1, 2, 3), (1, 2), (7,) * 9]) | tokens,
        completion=tokens.filter(lambda ids: len(ids) > 0),
        weight=st.floats(0.1, 5),
    ),
    min_size=1,
    max_size=20,
)


def learnt(found: list[Pack]) -> list[tuple[tuple[int, ...], int, float]]:
    """(everything a label sees, the label, its weight) of every label, by reading the packs as attention does."""
    out = []
    for pack in found:
        if pack.segments:
            owner: list[tuple[int, int]] = []
            for number, (prompt, parts) in enumerate(pack.segments):
                owner += [(number, 0)] * prompt
                for part, size in enumerate(parts, start=1):
                    owner += [(number, part)] * size
            # A shared last prompt token predicts the first label of each of its completions.
            for at, label, weight in zip(pack.label_at, pack.labels, pack.label_weight, strict=True):
                segment, part = owner[at]
                seen = [i for i in range(at + 1) if owner[i] in {(segment, 0), (segment, part)}]
                assert [pack.positions[i] for i in seen] == list(range(len(seen)))
                out.append((tuple(pack.input_ids[i] for i in seen), label, weight))
        else:
            for at, label, weight in zip(pack.label_at, pack.labels, pack.label_weight, strict=True):
                row, column = divmod(at, pack.width)
                assert column < pack.real[row]
                start = row * pack.width
                out.append((tuple(pack.input_ids[start : at + 1]), label, weight))
    return sorted(out)


def expected(given: list[Row]) -> list[tuple[tuple[int, ...], int, float]]:
    out = []
    for row in given:
        ids = row.prompt + row.completion
        out += [(ids[:i], ids[i], row.weight) for i in range(max(1, len(row.prompt)), len(ids))]
    return sorted(out)


@given(rows, st.integers(4, 60))
def test_packs_teach_exactly_the_examples(given_rows: list[Row], budget: int) -> None:
    assert learnt(packs(given_rows, budget)) == expected(given_rows)


@given(rows, st.integers(4, 60))
def test_padded_rows_teach_exactly_the_examples(given_rows: list[Row], budget: int) -> None:
    assert learnt(padded_packs(given_rows, budget, pad=0)) == expected(given_rows)


@given(rows, st.integers(4, 60))
def test_a_pack_exceeds_the_budget_only_with_one_example(given_rows: list[Row], budget: int) -> None:
    for pack in packs(given_rows, budget):
        assert pack.tokens <= budget or len(pack.segments) == 1 == len(pack.segments[0][1])


def test_a_shared_prompt_is_computed_once() -> None:
    shared = [Row((1,) * 100, (2, 3, 4)), Row((1,) * 100, (5, 6)), Row((1,) * 100, (7,))]
    [pack] = packs(shared, 1000)
    assert pack.tokens == 100 + 2 + 1 + 0


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=50)
def test_an_epoch_has_every_example_once(count: int, batch: int, epochs: int, seed: int) -> None:
    given_rows = [Row((i % 3,), (i,), index=i) for i in range(count)]
    for order in ("shuffled", "grouped"):
        steps = batches(given_rows, batch, epochs, seed, order)
        assert steps == batches(given_rows, batch, epochs, seed, order)
        per_epoch = -(-count // batch)
        assert len(steps) == epochs * per_epoch
        for epoch in range(epochs):
            mine = [row.index for step in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for row in step]
            assert sorted(mine) == list(range(count))


def test_orders() -> None:
    given_rows = [Row((i % 4,), (i,), index=i) for i in range(40)]
    [one], [other] = (batches(given_rows, 40, 1, seed, "shuffled") for seed in (0, 1))
    assert one != other and one != given_rows
    [grouped] = batches(given_rows, 40, 1, 0, "grouped")
    prompts = [row.prompt for row in grouped]
    assert (
        len([1 for a, b in zip(prompts, prompts[1:]) if a != b]) == 3
    )  # each prompt's examples stand together
