"""A study in the form of another tool, written by the client from the REST API: `mlflow`, `tensorboard`; `contents` is what goes into both.

Files of trials (csv, json, jsonl, parquet) the server writes itself (`api.export`).
"""
