"""Independent interpreters of the emitted models: LiteRT, TFLite Micro and onnxruntime (extra ``referee``)."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

from exporter.emit_onnx import emit_onnx
from exporter.emit_tflite import emit_tflite
from exporter.graph import F32, I8, Graph

ARENA_BYTES = 4 << 20


def litert(model: bytes, x: I8, reference: bool = True) -> list[I8]:
    """Outputs of a ``.tflite`` for int8 inputs (N, H, W, C), each (N, …); with LiteRT's reference or its optimised kernels."""
    kernels = (
        OpResolverType.BUILTIN_REF
        if reference
        else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=kernels, num_threads=1
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    targets = [detail["index"] for detail in interpreter.get_output_details()]
    found: list[list[I8]] = [[] for _ in targets]
    for image in x:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        for results, target in zip(found, targets, strict=True):
            results.append(interpreter.get_tensor(target)[0].copy())
    return [np.stack(results) for results in found]


def tflite_micro(model: bytes, x: I8, outputs: int = 1) -> list[I8]:
    """The same from the TFLite Micro interpreter."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES)
    found: list[list[I8]] = [[] for _ in range(outputs)]
    for image in x:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        for number, results in enumerate(found):
            results.append(interpreter.get_output(number)[0].copy())
    return [np.stack(results) for results in found]


def _session(model: bytes, optimise: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        if optimise
        else onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    return onnxruntime.InferenceSession(model, options)


def _nchw(x: I8) -> I8:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def onnx_logits(model: bytes, x: I8, optimise: bool = True) -> F32:
    """Float logits (N, classes) of a ``.onnx`` for int8 inputs (N, H, W, C)."""
    result: F32 = _session(model, optimise).run(None, {"input": _nchw(x)})[0]
    return result


def onnx_tensors(graph: Graph, x: I8) -> dict[str, I8]:
    """Every int8 activation (N, H, W, C) that onnxruntime computes for ``graph``'s ``.onnx``, unoptimised."""
    model = onnx.load_from_string(emit_onnx(graph))
    names = [node.output for node in graph.nodes]
    for name in names:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(f"{name}.int8", onnx.TensorProto.INT8, None)
        )
    values = _session(model.SerializeToString(), False).run(
        [f"{name}.int8" for name in names], {"input": _nchw(x)}
    )
    found = {name: value.transpose(0, 2, 3, 1) for name, value in zip(names, values, strict=True)}
    return {graph.input: x, **found}


def all_tensors_tflite(graph: Graph) -> tuple[bytes, list[str]]:
    """A ``.tflite`` that returns every tensor a node writes, and their names."""
    names = [node.output for node in graph.nodes]
    return emit_tflite(graph, outputs=names), names


def logit_steps(graph: Graph, real: NDArray[np.floating]) -> NDArray[np.int64]:
    """Real logits as numbers of int8 steps, zero point added."""
    quant = graph.quant[graph.output]
    return np.rint(real / float(quant.scale)).astype(np.int64) + quant.zero_point
