"""Workers: lease trials from a server over HTTP, run them, report. Knows no SQL and no Optuna."""
