"""`ilf init`: a folder with all that a run of somebody's own needs."""
