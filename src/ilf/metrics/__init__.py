"""What the results mean: pass@k, intervals, paired tests, edit distance, perplexity, KL, weights.

Every function here is small, takes plain numbers, and says where it comes from. Rates are shares between 0
and 1 (reports multiply by 100), log-probabilities are in nats, intervals hold 95% unless said otherwise.
"""

from ilf.metrics.agreement import kappa
from ilf.metrics.comparison import common, compare, detectable, holm, permutation_p, with_holm
from ilf.metrics.intervals import CONFIDENCE, RESAMPLES, bootstrap, mean_by_group
from ilf.metrics.models import (
    effective_sample_size,
    importance_weights,
    kl_categorical,
    kl_samples,
    perplexity,
)
from ilf.metrics.passk import Metric, count, evaluate, pass_at_k, per_task
from ilf.metrics.text import edit_distance, relative_edit_distance
from ilf.metrics.types import MEAN_R, Comparison, Estimate, Evaluation, TaskCounts, columns, points

__all__ = [
    "CONFIDENCE",
    "MEAN_R",
    "RESAMPLES",
    "Comparison",
    "Estimate",
    "Evaluation",
    "Metric",
    "TaskCounts",
    "bootstrap",
    "columns",
    "common",
    "compare",
    "count",
    "detectable",
    "edit_distance",
    "effective_sample_size",
    "evaluate",
    "holm",
    "importance_weights",
    "kappa",
    "kl_categorical",
    "kl_samples",
    "mean_by_group",
    "pass_at_k",
    "per_task",
    "permutation_p",
    "perplexity",
    "points",
    "relative_edit_distance",
    "with_holm",
]
