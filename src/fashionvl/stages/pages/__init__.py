"""The parts of the report: each a pure function of what the other stages measured."""
