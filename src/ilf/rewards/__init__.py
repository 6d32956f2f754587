"""What a text is worth: terms of R(x, t) for tasks of kind `text`, one a file.

Each is a function `score(tasks, programs, term)` as of `ilf.kinds.text.Reward`: a user's Python function, a
judge model's answers to yes/no questions, the likeness of a refinement to the feedback it follows.
"""
