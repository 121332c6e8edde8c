"""Programs around a model: explorer, editor, exported page, ONNX, notebook."""
