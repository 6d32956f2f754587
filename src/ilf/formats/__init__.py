"""The forms in which others keep programs, feedback and examples; those of tasks are `ilf.tasks.formats`.

A row's form is found out by its fields. Each file has one table, and says in one line what it was read as.
"""
