"""Names of the optimizers, and what each is in a few words: for the command line, errors and tables."""

OPTIMIZERS = {
    "muon": "Muon for the matrices of the recurrent layers, AdamW for all else",
    "adamw": "AdamW for all weights",
    "rmsprop": "RMSProp for all weights",
    "sgd": "gradient descent with momentum for all weights",
}
"""What `--optimizer` takes. How each is built: `training.optim.OPTIMIZERS`. How to add one: docs/extending.md."""
