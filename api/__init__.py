"""The HTTP API over `tuner`: routes, authentication, waiting, problem answers, and the dashboard's pages. Holds no state of its own."""
