"""Engine `transformers`: Hugging Face's own batched `generate`, on CPU and CUDA.

The reference for every other engine: any causal language model, no tricks. A prompt is computed once for each
of its samples, and a batch runs until its last sample has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from ilf import models
from ilf.pretrained import quiet
from ilf.prompts import Prompt
from ilf.records import content_id
from ilf.sampling import Completion, SamplingParams
from ilf.sampling.text import TextStream, encode


def open(
    model: str, *, device: str | None = None, batch_size: int = 32, trust_remote_code: bool = False
) -> TransformersSampler:
    """Open a MODEL string (see `ilf.models.resolve`).

    Args:
        model: hub id, folder, GGUF file or package.
        device: torch device; None takes CUDA where there is one.
        batch_size: samples computed together.
        trust_remote_code: see `ilf.models.resolve`.

    Raises:
        ModelError: the model cannot be opened.
    """
    folder = models.resolve(model, trust_remote_code)
    return TransformersSampler(folder.path, folder.hash, device, batch_size)


class TransformersSampler:
    """Samples with `generate`, `batch_size` samples at a time."""

    def __init__(self, folder: Path, model: str, device: str | None, batch_size: int) -> None:
        self.model = model
        self._tokenizer = models.load_tokenizer(folder)
        self._net = models.load_model(folder, device)
        self._context = models.context_length(folder)
        self._end = models.end_tokens(self._tokenizer, self._net)
        self._batch_size = batch_size

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Completion]:
        """See `Sampler.sample`; completions come a batch at a time."""
        ids = encode(self._tokenizer, prompts, params, self._context)
        return self._sample(ids, params, progress or (lambda tokens: None))

    def check(self, prompts: Sequence[Prompt], params: SamplingParams) -> None:
        """See `Sampler.check`."""
        encode(self._tokenizer, prompts, params, self._context)

    def _sample(
        self, ids: list[list[int]], params: SamplingParams, progress: Callable[[int], None]
    ) -> Iterator[Completion]:
        # Prompts of like length together: less padding.
        order = sorted(range(len(ids)), key=lambda prompt: len(ids[prompt]))
        rows = [(prompt, index) for prompt in order for index in range(params.n)]
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            seed = int(content_id(params.seed, batch[0], len(batch)), 16) % 2**63
            yield from self._generate(batch, ids, params, seed, progress)

    def _generate(
        self,
        batch: list[tuple[int, int]],
        ids: list[list[int]],
        params: SamplingParams,
        seed: int,
        progress: Callable[[int], None],
    ) -> list[Completion]:
        inputs = self._tokenizer.pad(
            {"input_ids": [ids[prompt] for prompt, _ in batch]}, padding_side="left", return_tensors="pt"
        ).to(self._net.device)
        streams = [TextStream(self._tokenizer, ids[prompt], params, self._end) for prompt, _ in batch]
        record = _Logprobs(len(batch), self._net.device)
        warm = {"do_sample": True, "temperature": params.temperature, "top_p": params.top_p, "top_k": 0}
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=params.max_tokens,
            pad_token_id=self._tokenizer.pad_token_id or 0,
            **(warm if params.temperature else {"do_sample": False}),
        )
        devices = [self._net.device] if self._net.device.type == "cuda" else []
        with (
            quiet(),
            torch.random.fork_rng(devices),
            torch.inference_mode(),
        ):  # the caller's random numbers stay
            torch.manual_seed(seed)
            output = self._net.generate(
                **inputs,
                generation_config=config,
                logits_processor=[record],
                stopping_criteria=[_Ended(streams, progress)],
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        logprobs = record.sums(new, [stream.tokens for stream in streams])
        return [
            Completion(prompt, index, stream.text, logprob, stream.tokens, stream.finish or "length")
            for (prompt, index), stream, logprob in zip(batch, streams, logprobs, strict=True)
        ]


class _Ended(StoppingCriteria):
    """Ends a row of the batch where its `TextStream` ends."""

    def __init__(self, streams: list[TextStream], progress: Callable[[int], None]) -> None:
        self._streams, self._progress = streams, progress

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        live = [stream for stream in self._streams if stream.finish is None]
        for stream, token in zip(self._streams, input_ids[:, -1].tolist(), strict=True):
            if stream.finish is None:
                stream.push(token)
        self._progress(len(live))
        return torch.tensor([stream.finish is not None for stream in self._streams], device=input_ids.device)


class _Logprobs(LogitsProcessor):
    """Notes each sampled token's log-probability before temperature and truncation change the logits.

    A step's token is known when the next step begins, so one step's logits are kept, never all of them.
    """

    def __init__(self, rows: int, device: Any) -> None:
        self._last: Any = None
        self._steps: list[Any] = []
        self._rows, self._device = rows, device

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if self._last is not None:
            self._note(input_ids[:, -1])
        self._last = scores.float()
        return scores

    def _note(self, tokens: Any) -> None:
        chosen = self._last.gather(1, tokens[:, None]).squeeze(1)
        self._steps.append(chosen - self._last.logsumexp(1))

    def sums(self, new: Any, lengths: list[int]) -> list[float]:
        """Sum over each row's first `lengths` tokens of `new` (rows x steps)."""
        self._note(new[:, -1])
        steps = torch.stack(self._steps, dim=1).double()
        inside = (
            torch.arange(steps.shape[1], device=steps.device)
            < torch.tensor(lengths, device=steps.device)[:, None]
        )
        return [float(total) for total in steps.where(inside, 0.0).sum(1)]
