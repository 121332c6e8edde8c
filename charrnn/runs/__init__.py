"""Run folders: the configuration, alphabet, checkpoints and logs of one training."""
