"""Rows of a data set on the Hugging Face hub, with one clear line where it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ilf.errors import DataError, missing
from ilf.tasks.splits import number


def rows(
    dataset: str, config: str | None, by: str | None = None, split: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (`row N`, row) of a data set.

    Args:
        dataset: its id.
        config: one of its configurations.
        by: sort by the number in this field; in the data set's own order where it is None.
        split: one of its splits; all by default.

    Raises:
        MissingDependency: `datasets` is not installed.
        DataError: the hub cannot be reached and the data set is not in the local cache.
    """
    try:
        import datasets  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise missing("datasets", "hub") from None
    offline = not _answers(dataset)
    before = datasets.config.HF_HUB_OFFLINE
    # Without an answer, straight to the local cache: the client would retry for half a minute.
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        splits = datasets.load_dataset(dataset, config)
    except Exception as error:  # the hub's client has a dozen ways to say that it is not there
        why = "it cannot be reached" if offline else _first_line(error)
        raise DataError(
            f"{dataset}: cannot be had from the Hugging Face hub ({why}); "
            "where there is no network, name the file or the folder instead, as in mbpp:PATH"
        ) from None
    finally:
        datasets.config.HF_HUB_OFFLINE = before
    if split is not None and split not in splits:
        raise DataError(f"hub:{dataset}: there is no split {split!r}; it has {', '.join(splits)}")
    chosen = splits if split is None else {split: splits[split]}
    found = [dict(row) for of_split in chosen.values() for row in of_split]
    if by is not None:
        found.sort(key=lambda row: number(str(row[by])) or 0)
    for count, row in enumerate(found, start=1):
        yield f"row {count}", row


def _answers(dataset: str) -> bool:
    """Whether the hub can be reached at all (a data set it does not have is an answer too)."""
    from huggingface_hub import HfApi, errors

    try:
        HfApi().dataset_info(dataset, timeout=10)
    except errors.HfHubHTTPError:
        return True
    except Exception:  # no network, in the many forms that http libraries raise it
        return False
    return True


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
