"""Moved to `ilf.annotate.collect`; this name stays until every caller uses that one."""

from ilf.annotate.collect import collect

__all__ = ["collect"]
