"""Names of the cell types, depths and optimizers, each with a short description for options, errors
and tables.

docs/use/extending.md shows how to add one.
"""

CELL_DESCRIPTIONS = {
    "lstm": "input, forget and output gates around a memory c",
    "gru": "two gates, no separate memory",
    "rnn": "h = tanh(W x + U h)",
    "irnn": "h = relu(W x + U h), U initialized near the identity",
    "peephole": "an LSTM whose gates see c",
    "coupled": "an LSTM with the input gate 1 - f",
    "mlstm": "an LSTM with a recurrent matrix of its own for each character",
    "antisymmetric": "gated steps of a differential equation with an antisymmetric matrix",
    "unitary": "a recurrence that preserves the norm; H/2 complex units",
    # The gates of the next two do not read the last output, so all characters are read in parallel.
    "mingru": "a GRU whose gates read the input alone",
    "minlstm": "an LSTM whose gates read the input alone",
    # Further variants of an LSTM or of a linear recurrence.
    "mogrifier": "an LSTM whose input and output scale each other first",
    "rglru": "a gated linear recurrence whose decay the input chooses",
    "slstm": "an LSTM with an exponential input gate and a normalizer",
}
"""The values of `--type`, besides `auto` and the cell types of installed packages. Their equations
are in `model.cell_types.CELLS`."""
DEPTH_DESCRIPTIONS = {
    "stacked": "each layer reads the outputs of the layer below",
    "residual": "each layer adds its outputs to those of the layer below",
    "highway": "a gate mixes each layer's outputs with those of the layer below",
    "dilated": "stacked; layer l continues from the character 2^l before",
    "grid": "at every character, an LSTM runs up the layers",
    "attention": "stacked; each layer adds what one attention head reads in its last outputs",
}
"""The values of the setting `depth`. Their equations are in `model.depths.DEPTHS`."""
OPTIMIZER_DESCRIPTIONS = {
    "muon": "Muon for the matrices of the recurrent layers, AdamW for all else",
    "adamw": "AdamW for all weights",
    "rmsprop": "RMSProp for all weights",
    "sgd": "gradient descent with momentum for all weights",
}
"""The values of the setting `optimizer`, which `training.optim.OPTIMIZERS` builds.
docs/use/extending.md shows how to add one."""
