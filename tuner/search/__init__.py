"""The search process: proposes trials, judges reports, ends studies. Optuna samples and prunes; `engine.run` is the entry point."""
