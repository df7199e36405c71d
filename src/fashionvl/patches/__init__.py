"""Patches (KPG, Kaleido-BERT section 3.2): foreground box, pyramid of grids, cached vectors."""
