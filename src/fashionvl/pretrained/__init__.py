"""The library face: a trained system as one object, and as one folder that needs nothing else."""
