"""Tuner: a hyperparameter tuning service. This module holds the version only, so that `import tuner.client` stays light."""

__version__ = "0.1.0"
