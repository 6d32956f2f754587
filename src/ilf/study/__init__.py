"""The paper's study: many ways to fine-tune on one run's data, measured against each other.

`arms` declares what is compared, `lab` does the steps that arms share, `measure` collects the numbers into
`results`, and `tables`, `statistics` and `document` say what they mean.
"""
