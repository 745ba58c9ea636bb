"""The dashboard: one page shell, static files, and everything else in the browser over the same `/v1` that users have."""
