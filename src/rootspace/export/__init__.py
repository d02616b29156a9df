"""A trained model as one graph, from pixels to labels, for runtimes without this package: ONNX and torch.export."""

from rootspace.export.graph import Pipeline, pipeline
from rootspace.export.writing import OPSET, to_onnx, to_torch

__all__ = ["OPSET", "Pipeline", "pipeline", "to_onnx", "to_torch"]
