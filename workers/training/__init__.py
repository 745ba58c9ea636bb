"""The built-in trainer: one loop, and a builder for each technique of the catalogue.

`optimizers`, `schedules`, `models`, `losses`, `datasets`, `initializers` and `regularizers` each have `names()` and
`build(name, ...)`; what a name means and which hyperparameters it takes stands in `tuner.catalog`.
"""
