"""Tasks: unpack a batch, ask the model, judge its answer."""
