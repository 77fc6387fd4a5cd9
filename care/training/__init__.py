"""Training: a step, an epoch, and a trial from its start to its last evaluation."""
