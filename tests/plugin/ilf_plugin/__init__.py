"""A feedback source, a learner, a task kind, an engine and a place, each of one file."""
