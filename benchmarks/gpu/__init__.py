"""TensorRT on a GPU: builds, checks against ONNX Runtime and times everything in one go; see README.md."""
