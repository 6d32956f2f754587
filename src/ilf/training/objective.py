"""What a label costs where it is not its negative log-likelihood: distances to another model's word, and
policy gradients.

Every objective compares the model in training, p, with what another model (or an earlier state of itself), q,
said at the same labels before training began (`teacher.listen`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ilf.training.config import Divergence
from ilf.training.loss import Cost
from ilf.training.packing import Row


@dataclass(frozen=True)
class Said:
    """What q says at labels: of each, its likeliest tokens, the label itself always among them."""

    tokens: Tensor
    """(labels, k)."""
    logprobs: Tensor
    """(labels, k), nats."""
    label: Tensor
    """(labels,): of the label itself, nats."""

    def at(self, numbers: Tensor) -> Said:
        """At the labels of these numbers (`Row.offset`), on their device."""
        where = numbers.to(self.label.device)
        found = (part[where].to(numbers.device) for part in (self.tokens, self.logprobs, self.label))
        return Said(*found)


@dataclass(frozen=True)
class Objective(ABC):
    """The loss of a label. Its fields are all that decides it."""

    speaker: Path
    """Folder of q."""
    speaker_hash: str
    """Of its weights."""
    prompts: tuple[str, ...] | None = None
    """What q is given before each example's completion; None means the example's own prompt."""
    top_k: int = 64
    """Tokens of q that are kept at a label; the others count together."""

    def identity(self) -> Mapping[str, Any]:
        """All that decides the loss, for the fingerprint."""
        return {"objective": type(self).__name__, **asdict(self), "speaker": None}

    @abstractmethod
    def cost(self, rows: Sequence[Row], said: Said) -> Cost:
        """The loss of labels of `rows`, along which q said what it said."""


@dataclass(frozen=True)
class Distil(Objective):
    """D(p, q) at every label, over q's likeliest tokens and the sum of all others (`divergence`)."""

    kind: Divergence = "forward"

    def cost(self, rows: Sequence[Row], said: Said) -> Cost:
        """The divergence."""
        return lambda logits, labels, numbers: divergence(logits, said.at(numbers), self.kind)


@dataclass(frozen=True)
class Anchored(Objective):
    """-log p(label) + β·KL(p ‖ q) at every label, with q the model that training starts from."""

    beta: float = 0.1

    def cost(self, rows: Sequence[Row], said: Said) -> Cost:
        """Negative log-likelihood and penalty."""

        def of(logits: Tensor, labels: Tensor, numbers: Tensor) -> Tensor:
            penalty = divergence(logits, said.at(numbers), "reverse")
            return F.cross_entropy(logits, labels, reduction="none") + self.beta * penalty

        return of


@dataclass(frozen=True)
class PolicyGradient(Objective):
    """-min(r·A, clip(r, 1 - low, 1 + high)·A) at every label, r = p(label) / q(label) (Schulman et al. 2017,
    equation 7), with q the policy that wrote the samples."""

    advantages: tuple[float, ...] = ()
    """A of each example."""
    low: float = 0.2
    high: float = 0.2

    def cost(self, rows: Sequence[Row], said: Said) -> Cost:
        """The clipped surrogate, to be made small."""
        of_label = torch.zeros(len(said.label))
        for row in rows:
            of_label[row.offset : row.offset + len(row.completion)] = self.advantages[row.index]

        def of(logits: Tensor, labels: Tensor, numbers: Tensor) -> Tensor:
            gain = of_label[numbers.cpu()].to(logits.device)
            logp = logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(1)
            ratio = (logp - said.at(numbers).label).exp()
            return -torch.minimum(ratio * gain, ratio.clamp(1 - self.low, 1 + self.high) * gain)

        return of


def divergence(logits: Tensor, said: Said, kind: Divergence) -> Tensor:
    """D between p = softmax(logits) and q, over q's kept tokens and one bucket for the rest, in nats.

    forward: KL(q ‖ p) = Σ q·(log q - log p); reverse: KL(p ‖ q); jsd: ½·KL(q ‖ m) + ½·KL(p ‖ m) with
    m = (p + q) / 2. Lumping the rest together can only make each of them smaller.
    """
    logp = _with_rest(logits.gather(1, said.tokens) - logits.logsumexp(1, keepdim=True))
    logq = _with_rest(said.logprobs)
    if kind == "forward":
        return (logq.exp() * (logq - logp)).sum(1)
    if kind == "reverse":
        return (logp.exp() * (logp - logq)).sum(1)
    logm = torch.logaddexp(logp, logq) - math.log(2)
    return ((logq.exp() * (logq - logm)).sum(1) + (logp.exp() * (logp - logm)).sum(1)) / 2


def _with_rest(logprobs: Tensor) -> Tensor:
    """Log-probabilities of some tokens, and of all others together."""
    kept = logprobs.logsumexp(1, keepdim=True).clamp(max=-1e-6)  # float32 may find a sum above 1
    return torch.cat([logprobs, torch.log(-torch.expm1(kept))], 1)
