"""Imitation learning from Language Feedback (Chen et al. 2023, arXiv 2303.16749)."""

__version__ = "0.1.0"
