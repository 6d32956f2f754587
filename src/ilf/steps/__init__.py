"""The steps of Algorithm 1, a file each, named as what they write in the run folder.

Each is a frozen dataclass of typed inputs and settings that computes its own key, does its work at any place,
and gives what the steps after it take. `runner.py` does them; `algorithm.py` says in which order.
"""

from ilf.steps.evaluation import Evaluate
from ilf.steps.examples import Select
from ilf.steps.feedback import Gather
from ilf.steps.model import Learn
from ilf.steps.programs import Sample
from ilf.steps.refinements import Refine
from ilf.steps.refiner import Refiner, Teach
from ilf.steps.stepwise import RefineByParts
from ilf.steps.verdicts import Verify

__all__ = [
    "Evaluate", "Gather", "Learn", "Refine", "RefineByParts", "Refiner", "Sample", "Select", "Teach",
    "Verify",
]  # fmt: skip
