"""Weights: every module that has parameters."""
