"""The database: tables and connections. The transitions on them are the modules of `tuner` named by their nouns."""
