"""`ilf serve verifier`: the sandbox over HTTP, for trainers that are not ours (docs/serve.md).

A request (`wire.py`, `fusion.py`) becomes items of one queue (`queue.py`), which is fair between clients; the
threads of the `engine.py` take items as their jails get free and give each result back to its request.
"""
