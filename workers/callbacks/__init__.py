"""Callbacks that join a training framework's own loop to a trial: `lightning` for PyTorch Lightning, `transformers` for Hugging Face's.

Each is imported by its full name, since a worker has only the framework that its trials use. What both do stands in `frame`.
"""
