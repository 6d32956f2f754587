"""Place `ray`: sampling and verifying on the nodes of a Ray cluster, with local's results (`docs/scale.md`).

`place.py` is what steps see, `crew.py` shares batches out to actors and replaces those that die, `actors.py`
is what runs on the nodes.
"""
