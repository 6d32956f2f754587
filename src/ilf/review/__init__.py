"""Code review as feedback: comments that teams wrote, joined with the code, its tests and what it became."""
