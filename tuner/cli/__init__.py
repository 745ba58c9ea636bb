"""The command line, one file a noun; `tuner.cli.main` puts them together and turns errors into sentences and exit codes."""
