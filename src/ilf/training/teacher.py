"""What a model says along given completions: the fixed side of every objective that compares two models."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ilf.errors import TrainingError
from ilf.models import context_length, load_model, load_tokenizer
from ilf.progress import progress
from ilf.training.loss import choose_way, chunks, label_states, whole
from ilf.training.objective import Objective, Said
from ilf.training.packing import Pack, Row, packs, padded_packs
from ilf.training.preflight import Plan

FILE = "said.npz"
"""In the folder of an unfinished fine-tuning: it is computed once, also where training is resumed."""


@dataclass(frozen=True)
class Heard:
    """What was said, and what it cost."""

    said: Said
    tokens: int
    """Put through the model."""
    seconds: float


def listen(objective: Objective, tokenizer: Any, rows: Sequence[Row], plan: Plan, work: Path) -> Heard:
    """What `objective.speaker` says along the completions of `rows`; taken from `work` where it is there.

    Args:
        objective: whose word, after which prompts.
        tokenizer: of the model in training.
        rows: with their offsets.
        plan: device, precision and pack size.
        work: the folder of the unfinished fine-tuning.

    Raises:
        TrainingError: the speaker has another tokenizer, or its prompt and a completion do not fit.
    """
    path = work / FILE
    if not path.is_file():
        began = time.monotonic()
        found = _compute(objective, tokenizer, rows, plan)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, **found, seconds=np.array(time.monotonic() - began))
        temporary.replace(path)
    with np.load(path) as kept:
        said = Said(*(torch.from_numpy(kept[name]) for name in ("ids", "logprobs", "label")))
        return Heard(said, int(kept["tokens"]), float(kept["seconds"]))


def _compute(objective: Objective, tokenizer: Any, rows: Sequence[Row], plan: Plan) -> dict[str, Any]:
    folder, device = objective.speaker, torch.device(plan.device)
    own = load_tokenizer(folder)
    if own.get_vocab() != tokenizer.get_vocab():
        raise TrainingError(
            f"{folder}: another tokenizer than that of the model to train: what the two say of a token "
            "cannot be compared"
        )
    asked = list(rows)
    if objective.prompts is not None:
        asked = [
            replace(row, prompt=tuple(own(objective.prompts[row.index], add_special_tokens=False).input_ids))
            for row in rows
        ]
    limit = context_length(folder)
    longest = max(len(row.prompt) + len(row.completion) for row in asked)
    if longest > limit:
        raise TrainingError(f"{folder}: prompt and completion have {longest:,} tokens, its context {limit:,}")
    model = load_model(folder, device=plan.device, dtype=torch.float32)
    model.eval()
    way = choose_way(model, asked, plan.precision, device)
    labels = sum(len(row.completion) for row in rows)
    k = min(objective.top_k, whole(model).get_output_embeddings().weight.shape[0])
    found = {
        "ids": np.zeros((labels, k), np.int64),
        "logprobs": np.zeros((labels, k), np.float32),
        "label": np.zeros(labels, np.float32),
        "tokens": np.array(sum(row.length for row in asked)),
    }
    made = packs(asked, plan.pack_tokens) if way.packed else padded_packs(asked, plan.pack_tokens, pad=0)
    with progress("listening to the teacher", len(made)) as bar, torch.no_grad():
        for pack in made:
            with torch.autocast(device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
                states = label_states(model, pack, way, device)
            head = whole(model).get_output_embeddings() if way.chunked else None
            for part in chunks(len(states), device.type):
                logits = states[part].float()
                if head is not None:
                    bias = None if head.bias is None else head.bias.float()
                    logits = F.linear(logits, head.weight.float(), bias)
                _keep(found, pack, part, logits.log_softmax(1))
            bar.advance(1, pack.tokens)
    del model
    gc.collect()
    return found


def _keep(found: dict[str, Any], pack: Pack, part: slice, logprobs: torch.Tensor) -> None:
    """Note the likeliest tokens at some labels of a pack; a label that is not among them takes the last
    place."""
    label = torch.tensor(pack.labels[part], device=logprobs.device)[:, None]
    k = found["ids"].shape[1]
    best, ids = logprobs.topk(k, dim=1)
    its = logprobs.gather(1, label)
    missing = ~(ids == label).any(1)
    ids[missing, -1], best[missing, -1] = label[missing, 0], its[missing, 0]
    where = pack.label_number[part]
    found["ids"][where], found["logprobs"][where] = ids.cpu().numpy(), best.cpu().numpy()
    found["label"][where] = its[:, 0].cpu().numpy()
