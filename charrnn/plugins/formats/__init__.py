"""Files that other programs read: a model in one file, ONNX, a page that runs the model, the logs
of runs."""
