"""A feedback source: a rule that looks at each wrong answer and says one sentence about it."""

from ilf.feedback.sources import Asked
from ilf.places import Place
from ilf.records import Feedback


def gather(asked: Asked, place: Place) -> list[Feedback]:
    """One item on the wrong answer of each task that is easiest to fix."""
    options = asked.settings.options
    word, most = options.get("word", "capital letters"), options.get("items")
    return [
        Feedback(
            task_id=task_id,
            code=program.code,
            text=f"{program.code!r} is whispered. Use {word}.",
            source="ilf_plugin",
            author="a rule",
            model=program.model,
        )
        for task_id, ranked in sorted(asked.candidates.items())[:most]
        for program, verdict in ranked[:1]
    ]
