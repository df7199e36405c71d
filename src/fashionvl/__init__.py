"""Fashion vision-language models: Kaleido-BERT and its family."""
