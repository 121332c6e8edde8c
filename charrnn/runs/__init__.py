"""What a run leaves on disk: configuration, alphabet, weights and history, in a folder a person can read."""
