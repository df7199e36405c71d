"""The search service: HTTP and a page around a Finder; `python -m fashionvl.service` runs it."""
