"""The HTML report: what a run, two runs, a study, or a file of programs says, in one self-contained page."""
