"""An engine: a model that whispers, shouts where the prompt asks it to, and knows by heart what it learnt."""

import hashlib
import json
import re
from pathlib import Path

from ilf.sampling import Completion

MEMORY = "memory.json"


class Parrot:
    """`memory`: prompt → what it says as its first sample."""

    def __init__(self, memory: dict[str, str]) -> None:
        self.memory = memory
        self.model = hashlib.sha256(json.dumps(memory, sort_keys=True).encode()).hexdigest()

    def check(self, prompts, params):
        """Every prompt fits."""

    def sample(self, prompts, params, progress=None):
        for number, prompt in enumerate(prompts):
            word = re.search('"(.+?)"', prompt.text)[1]
            said = word.upper() if "capital letters" in prompt.text else word
            for index in range(params.n):
                text = self.memory.get(prompt.text, said) if index == 0 else said
                yield Completion(number, index, text, logprob=-1.0, tokens=1, finish="stop")


def open(model: str, loud: bool = False) -> Parrot:
    path = Path(model) / MEMORY
    return Parrot(json.loads(path.read_text()) if path.is_file() else {})
