"""The edge: when things run, what guards them, who is told. The library in `src/` knows nothing of it."""
