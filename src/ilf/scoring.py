"""How likely a model finds given texts: log-probabilities for perplexity, KL and the choice of refinements.

torch is imported when something is scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf import models
from ilf.errors import ModelError
from ilf.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from ilf.training.packing import Pack, Row

BATCH_TOKENS = 4096
"""Tokens computed at once, padding included."""
CHUNK = 256
"""Positions whose logits are held at once: 50 MB at a vocabulary of 50,000."""


def score(
    model: str | Path, pairs: Sequence[tuple[str, str]], *, what: str = "scoring"
) -> list[tuple[float, int]]:
    """log p(completion | prompt) of each pair, at temperature 1.

    Prompt and completion are tokenised apart, as in training and sampling; the end token is not counted. With
    an empty prompt the first token, which nothing predicts, is not counted either.

    Args:
        model: a MODEL string or folder.
        pairs: (prompt, completion).
        what: what the progress line calls it.

    Returns:
        (sum of log-probabilities in nats, number of tokens) of each pair, in order.

    Raises:
        ModelError: there is no such model, or a pair is longer than its context.
    """
    if not pairs:
        return []
    import torch

    from ilf.training.packing import Row, padded_packs

    folder = models.resolve(str(model)).path
    tokenizer = models.load_tokenizer(folder)
    limit = models.context_length(folder)
    rows: list[Row] = []
    for index, (prompt, completion) in enumerate(pairs):
        given = tokenizer(prompt, add_special_tokens=False).input_ids
        scored = tokenizer(completion, add_special_tokens=False).input_ids
        if len(given) + len(scored) > limit:
            raise ModelError(
                f"text {index + 1} of {len(pairs)} has {len(given) + len(scored)} tokens, "
                f"the model's context {limit}"
            )
        rows.append(Row(tuple(given), tuple(scored), index=index))
    results: list[tuple[float, int]] = [(0.0, 0)] * len(pairs)
    usable = [row for row in rows if row.completion and len(row.prompt) + len(row.completion) > 1]
    if not usable:
        return results
    network = models.load_model(folder)
    ordered = sorted(usable, key=lambda row: row.length, reverse=True)
    chunked = _head_is_all(network, ordered[-1])
    with torch.inference_mode(), progress(what, len(usable)) as bar:
        at = 0
        for pack in padded_packs(ordered, BATCH_TOKENS, tokenizer.pad_token_id or 0):
            of_pack = ordered[at : at + len(pack.real)]
            at += len(pack.real)
            values = _logprobs(network, pack, chunked)
            start = 0
            for row in of_pack:
                size = len(row.completion) - (not row.prompt)
                results[row.index] = (float(values[start : start + size].double().sum()), size)
                start += size
            bar.advance(len(of_pack), tokens=pack.tokens)
    return results


def embeddings(model: str | Path, texts: Sequence[str]) -> list[list[float]]:
    """Each text as a vector of length 1: the mean of the model's last hidden states over its tokens.

    Args:
        model: a MODEL string or folder.
        texts: none of them empty.

    Raises:
        ModelError: there is no such model, or a text is longer than its context.
    """
    import torch

    found: list[list[float]] = [[] for _ in texts]
    for batch in _read(model, texts, "embedding"):
        inside = torch.arange(batch.ids.shape[1], device=batch.ids.device) < batch.real[:, None]
        means = (batch.hidden().float() * inside[..., None]).sum(1) / batch.real[:, None]
        unit = torch.nn.functional.normalize(means, dim=1).tolist()
        for number, vector in zip(batch.numbers, unit, strict=True):
            found[number] = vector
    return found


def first_tokens(
    model: str | Path, prompts: Sequence[str], words: Sequence[str], *, what: str = "judging"
) -> list[list[float]]:
    """log p of the first token of each word right after each prompt (nats), one list of words a prompt.

    Args:
        model: a MODEL string or folder.
        prompts: none of them empty.
        words: that may follow, with the space before them; each begins with a token of its own.
        what: what the progress line calls it.

    Raises:
        ModelError: there is no such model, a prompt is longer than its context, or words begin alike.
    """
    import torch

    tokenizer = models.load_tokenizer(models.resolve(str(model)).path)
    wanted = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in words]
    if len(set(wanted)) < len(wanted):
        raise ModelError(f"{model}: its first token does not tell {', '.join(map(str.strip, words))} apart")
    found: list[list[float]] = [[] for _ in prompts]
    for batch in _read(model, prompts, what, tokenizer):
        last = torch.arange(len(batch.numbers), device=batch.ids.device), batch.real - 1
        logprobs = batch.logits(last).float().log_softmax(1)
        for number, values in zip(batch.numbers, logprobs[:, wanted].tolist(), strict=True):
            found[number] = values
    return found


@dataclass(frozen=True)
class _Batch:
    """Texts as a model reads them together, padded at the end."""

    network: Any
    numbers: Sequence[int]
    """Which of the texts."""
    ids: Tensor
    """Shape (texts, longest)."""
    real: Tensor
    """Tokens of each text, shape (texts,)."""
    head_is_all: bool

    def hidden(self) -> Tensor:
        """The last hidden states, shape (texts, longest, width)."""
        found: Tensor = self.network.base_model(**self._given)[0]
        return found

    def logits(self, at: tuple[Tensor, Tensor]) -> Tensor:
        """Of the next token after the places `at` (text, token), shape (places, vocabulary)."""
        if self.head_is_all:
            kept: Tensor = self.network.get_output_embeddings()(self.hidden()[at])
        else:
            kept = self.network(**self._given).logits[at]
        return kept

    @property
    def _given(self) -> dict[str, Any]:
        # What is before a token does not see what pads the end.
        inside = self.real[:, None] > self.real.new_tensor(range(self.ids.shape[1]))
        return {"input_ids": self.ids, "attention_mask": inside.long(), "use_cache": False}


def _read(model: str | Path, texts: Sequence[str], what: str, tokenizer: Any = None) -> Iterator[_Batch]:
    """The texts in batches of alike length, the longest first."""
    if not texts:
        return
    import torch

    from ilf.training.packing import Row

    folder = models.resolve(str(model)).path
    tokenizer = tokenizer or models.load_tokenizer(folder)
    limit = models.context_length(folder)
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    long = next((number for number, row in enumerate(ids) if len(row) > limit), None)
    if long is not None:
        raise ModelError(f"text {long + 1} has {len(ids[long])} tokens, the model's context {limit}")
    network = models.load_model(folder)
    left = sorted(range(len(ids)), key=lambda number: len(ids[number]), reverse=True)
    shortest = ids[left[-1]]
    head_is_all = _head_is_all(network, Row(tuple(shortest), (shortest[-1],)))
    with torch.inference_mode(), progress(what, len(ids)) as bar:
        while left:
            width = len(ids[left[0]])
            numbers = left[: max(1, BATCH_TOKENS // width)]
            left = left[len(numbers) :]
            padded = [[*ids[number], *[0] * (width - len(ids[number]))] for number in numbers]
            yield _Batch(
                network,
                numbers,
                torch.tensor(padded, device=network.device),
                torch.tensor([len(ids[number]) for number in numbers], device=network.device),
                head_is_all,
            )
            bar.advance(len(numbers))


def divergence(
    model: str | Path, other: str | Path, pairs: Sequence[tuple[str, str]], *, what: str = "comparing"
) -> list[float]:
    """KL(model, other) along each completion: the sum over its positions of the next-token distributions' KL.

    Over completions sampled from `model` at temperature 1 the mean estimates the KL of the two models' texts
    without bias, with less variance than log p − log q of the sampled tokens, and it is never negative (the
    Rao-Blackwellised estimator of Amini et al. 2025, arXiv 2504.10637). The position after the last token,
    where a text ends, counts too. Both models are in memory at once and must share a vocabulary.

    Args:
        model: the MODEL that wrote the completions.
        other: the MODEL it is compared with.
        pairs: (prompt, completion).
        what: what the progress line calls it.

    Returns:
        nats, one number a pair.
    """
    import torch

    from ilf.training.packing import Row, padded_packs

    folder = models.resolve(str(model)).path
    tokenizer = models.load_tokenizer(folder)
    end = tokenizer.eos_token_id or 0
    rows = []
    for index, (prompt, completion) in enumerate(pairs):
        given = tokenizer(prompt, add_special_tokens=False).input_ids or [end]
        text = tokenizer(completion, add_special_tokens=False).input_ids
        rows.append(Row(tuple(given), (*text, end), index=index))
    if not rows:
        return []
    p, q = models.load_model(folder), models.load_model(models.resolve(str(other)).path)
    rows.sort(key=lambda row: row.length, reverse=True)
    results = [0.0] * len(rows)
    at = 0
    with torch.inference_mode(), progress(what, len(rows)) as bar:
        for pack in padded_packs(rows, BATCH_TOKENS // 2, end):
            of_pack = rows[at : at + len(pack.real)]
            at += len(pack.real)
            values = _divergences(p, q, pack)
            start = 0
            for row in of_pack:
                results[row.index] = float(values[start : start + len(row.completion)].double().sum())
                start += len(row.completion)
            bar.advance(len(of_pack), tokens=2 * pack.tokens)
    return results


def _divergences(p: Any, q: Any, pack: Pack) -> Tensor:
    """KL between the next-token distributions of two models at each label's position, shape (labels,)."""
    import torch

    ids = torch.tensor(pack.input_ids, device=p.device).view(-1, pack.width)
    mask = (torch.arange(pack.width) < torch.tensor(pack.real)[:, None]).long().to(p.device)
    at = torch.tensor(pack.label_at, device=p.device)
    left, right = (
        network(input_ids=ids, attention_mask=mask, use_cache=False).logits.flatten(0, 1)[at]
        for network in (p, q)
    )
    found = []
    for start in range(0, len(at), CHUNK):
        a, b = (logits[start : start + CHUNK].float().log_softmax(1) for logits in (left, right))
        found.append((a.exp() * (a - b)).sum(1).clamp_min(0))
    return torch.cat(found)


def _logprobs(network: Any, pack: Pack, chunked: bool) -> Tensor:
    """log p of each label of a padded pack, shape (labels,)."""
    import torch

    device = network.device
    ids = torch.tensor(pack.input_ids, device=device).view(-1, pack.width)
    real = torch.tensor(pack.real, device=device)
    mask = (torch.arange(pack.width, device=device) < real[:, None]).long()
    at = torch.tensor(pack.label_at, device=device)
    labels = torch.tensor(pack.labels, device=device)
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    if not chunked:
        logits: Tensor = network(**given).logits.flatten(0, 1)[at].float()
        return logits.gather(1, labels[:, None]).squeeze(1) - logits.logsumexp(1)
    hidden = network.base_model(**given)[0].flatten(0, 1)[at]
    head = network.get_output_embeddings()
    found = []
    for start in range(0, len(labels), CHUNK):
        logits = head(hidden[start : start + CHUNK]).float()
        chosen = logits.gather(1, labels[start : start + CHUNK, None]).squeeze(1)
        found.append(chosen - logits.logsumexp(1))
    return torch.cat(found)


def _head_is_all(network: Any, row: Row) -> bool:
    """Whether the output projection alone makes logits of hidden states (some models cap or scale them)."""
    import torch

    from ilf.training.packing import Pack

    if network.get_output_embeddings() is None:
        return False
    pack = Pack.padded([row], 0)
    return torch.allclose(_logprobs(network, pack, True), _logprobs(network, pack, False), atol=1e-3)
