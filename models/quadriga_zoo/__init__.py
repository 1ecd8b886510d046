"""Networks of the demo and load tests: their data, training and export to the four formats.

`cli`, `repository` and `runner` run in the `quadriga zoo` command, which imports no framework; `job` and what it calls
run in processes of their own, one framework each. `datasets` runs in both, and in `quadriga infer`.
"""
