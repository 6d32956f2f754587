"""The web app where people write feedback (step 2 of Algorithm 1), served from a run's annotation store.

- `database`, `schema`, `migrations/`: the tables (SQLite by default, PostgreSQL by URL).
- `store`: an annotation store: filling the queue, what is accepted, how far people are.
- `answers`, `queue`, `review`, `accounts`: what people do; every change is kept as history.
- `checks`, `statistics`, `exchange`: which program to fix first, gentle warnings, the dashboard's
  figures, files in and out.
- `app`, `security`, `pages/`, `api`: the web server; `frontend/` is bundled by `tools/build_frontend.sh`.
- `command`: what `ilf annotate` does.
"""
