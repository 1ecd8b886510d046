"""TorchScript graphs rewritten for one CPU: redundant casts out, constants folded, convolutions fused. Runs in workers.

PyTorch's own `optimize_for_inference` fuses only neighbours, and knows neither the casts that Keras' exports have
around every operation nor the arithmetic that they have for batch normalisation: on such a graph it makes things
slower, since each convolution then changes the layout of its input and output. What is gained: benchmarks/BACKENDS.md.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from quadriga.backends.base import first_line

#: Operators that give float32 for tensors that are all float32, whatever their other arguments are.
_KEEP_FLOAT32: Final = frozenset(
    {
        "aten::_convolution", "aten::conv2d", "aten::batch_norm", "aten::linear", "aten::addmm", "aten::matmul",
        "aten::add", "aten::add_", "aten::sub", "aten::sub_", "aten::mul", "aten::mul_", "aten::div", "aten::div_",
        "aten::rsqrt", "aten::rsqrt_", "aten::sqrt", "aten::relu", "aten::relu_", "aten::relu6", "aten::relu6_",
        "aten::hardtanh", "aten::hardtanh_", "aten::sigmoid", "aten::tanh", "aten::silu", "aten::gelu", "aten::clamp",
        "aten::pad", "aten::constant_pad_nd", "aten::max_pool2d", "aten::avg_pool2d", "aten::adaptive_avg_pool2d",
        "aten::permute", "aten::transpose", "aten::flatten", "aten::reshape", "aten::view", "aten::squeeze",
        "aten::unsqueeze", "aten::expand", "aten::contiguous",
    }
)  # fmt: skip
#: Casts whose second argument is the type, by their number of arguments: to.dtype and to.dtype_layout. The argument
#: that demands a copy is the last but one of both.
_CASTS: Final = (5, 8)
#: PyTorch's number of float32.
_FLOAT32: Final = 6
_Activation = tuple[str, tuple[float, ...]]
#: What oneDNN computes together with a convolution, by the operator: its name there, and its arguments.
_ACTIVATIONS: Final[dict[str, _Activation]] = {
    "aten::relu": ("relu", ()),
    "aten::relu6": ("hardtanh", (0.0, 6.0)),
}
#: A chain of as many operations on constants after a convolution is folded into its weights: Keras' bias, mean, scale
#: and offset are two of each kind of pass.
_FOLDS: Final = 3

log = logging.getLogger("quadriga.backends.torchscript_graph")


def optimise(module: Any, torch: Any) -> Callable[..., Any] | None:  # noqa: ANN401 - a ScriptModule and the module torch
    """A faster function of the module's inputs, which are all float32; the module itself stays as it is.

    Whoever uses it compares it with the module: the rules here are no proof.

    Returns:
        None where there is no convolution to fuse, or where the graph branches or changes tensors in place.
    """
    try:
        frozen = torch.jit.freeze(module) if hasattr(module, "training") else module
        graph = frozen.graph.copy()
        torch._C._jit_pass_inline(graph)
        _clean(graph, torch)
        if next(graph.inputs()).uses() or any(_is_unsafe(node) for node in graph.nodes()):
            return None
        weights = _fuse(graph, torch)
        if not weights:
            return None
        graph.eraseInput(0)
        torch._C._jit_pass_dce(graph)
        torch._C._jit_pass_lint(graph)
        function = torch._C._create_function_from_graph("forward", graph)
    except Exception as error:
        log.info("runs as PyTorch optimises it, since its graph cannot be rewritten: %s", first_line(error))
        return None
    return lambda *tensors: function(*tensors, *weights)


def _is_unsafe(node: Any) -> bool:  # noqa: ANN401
    """Whether operations must not be moved past it, as fusing does."""
    return node.kind().endswith("_") or bool(list(node.blocks()))


def _clean(graph: Any, torch: Any) -> None:  # noqa: ANN401
    """Takes out what computes nothing, and folds what depends on constants alone into the convolutions' weights."""
    passes = torch._C
    _drop_casts(graph, torch)
    # Constants are not folded through operations in place, such as those of Keras' batch normalisation.
    passes._jit_pass_remove_mutation(graph)
    passes._jit_pass_constant_propagation(graph)
    _drop_casts(graph, torch)
    passes._jit_pass_constant_propagation(graph)
    for _ in range(_FOLDS):
        passes._jit_pass_fold_frozen_conv_bn(graph)
        passes._jit_pass_fold_frozen_conv_add_or_sub(graph)
        passes._jit_pass_fold_frozen_conv_mul_or_div(graph)
    passes._jit_pass_dce(graph)


def _drop_casts(graph: Any, torch: Any) -> None:  # noqa: ANN401
    """Drops casts to float32 of tensors that are known to be float32.

    An archive carries no types, and PyTorch's own propagation of types stops at the first cast with a layout.
    """
    known = {value.debugName() for value in list(graph.inputs())[1:]}
    for node in list(graph.nodes()):
        inputs, outputs = list(node.inputs()), list(node.outputs())
        if node.kind() == "aten::to" and len(inputs) in _CASTS and _value(inputs[1]) == _FLOAT32:
            if inputs[0].debugName() in known and _value(inputs[-2]) is False:
                outputs[0].replaceAllUsesWith(inputs[0])
                node.destroy()
            else:
                known.add(outputs[0].debugName())
        elif _gives_float32(node, inputs, known, torch):
            known.add(outputs[0].debugName())


def _gives_float32(node: Any, inputs: list[Any], known: set[str], torch: Any) -> bool:  # noqa: ANN401
    if node.kind() == "prim::Constant":
        value = node.output().toIValue()
        return isinstance(value, torch.Tensor) and value.dtype == torch.float32
    tensors = [value.debugName() for value in inputs if value.type().kind() == "TensorType"]
    return node.kind() in _KEEP_FLOAT32 and node.outputsSize() == 1 and bool(tensors) and known.issuperset(tensors)


def _fuse(graph: Any, torch: Any) -> list[Any]:  # noqa: ANN401
    """Makes each convolution one oneDNN operation with the addition and activation after it, over NHWC memory.

    Returns:
        Their weights in oneDNN's own layouts, which the graph takes as arguments after its own: as constants it would
        have to be able to print them. Packed once, since PyTorch would do it anew in every call.
    """
    weights = []
    for node in [*graph.findAllNodes("aten::_convolution"), *graph.findAllNodes("aten::conv2d")]:
        arguments = _convolution(node, torch)
        if arguments is None:
            continue
        image, weight, *others = arguments
        _, padding, stride, dilation, groups = (_value(value) for value in others)
        packed = torch.ops.mkldnn._reorder_convolution_weight(_value(weight), padding, stride, dilation, groups, None)
        weights.append(packed)
        _replace(graph, node, [image, graph.addInput(), *others], torch)
    # A view of what PyTorch had in NCHW need not be one of what now is NHWC.
    for node in list(graph.findAllNodes("aten::view")):
        reshape = graph.create("aten::reshape", list(node.inputs()), 1).insertBefore(node)
        node.output().replaceAllUsesWith(reshape.output())
        node.destroy()
    return weights


def _convolution(node: Any, torch: Any) -> list[Any] | None:  # noqa: ANN401
    """Image, weight, bias, padding, stride, dilation and groups; None where it is no plain one over images."""
    image, weight, bias, stride, padding, dilation, *others = node.inputs()
    transposed, groups = (others[0], others[2]) if node.kind() == "aten::_convolution" else (None, others[0])
    value = _value(weight)
    if not isinstance(value, torch.Tensor) or value.dim() != 4 or value.dtype != torch.float32:
        return None
    if transposed is not None and _value(transposed) is not False:
        return None
    if bias.node().kind() != "prim::Constant" or not isinstance(_value(groups), int):
        return None
    # Padding may be a word, and one number may stand for both sides.
    if any(not isinstance(_value(sides), list) or len(_value(sides)) != 2 for sides in (padding, stride, dilation)):
        return None
    return [image, weight, bias, padding, stride, dilation, groups]


def _replace(graph: Any, node: Any, arguments: list[Any], torch: Any) -> None:  # noqa: ANN401
    """Puts one operation where the last of those is that it takes the place of."""
    last, other = node, None
    following = _only_user(node)
    if following is not None and following.kind() == "aten::add" and _value(following.inputsAt(2)) == 1:
        # A sum with a constant or of the result with itself has no second tensor of the same shape.
        addends = [following.inputsAt(i) for i in range(2)]
        found = [value for value in addends if value.debugName() != node.output().debugName()]
        after = _only_user(following)
        clipped = after is not None and after.kind() == "aten::relu6"
        if len(found) == 1 and found[0].node().kind() != "prim::Constant" and not clipped:
            last, other, following = following, found[0], after
    activation: _Activation = ("none", ())
    if following is not None and following.kind() in _ACTIVATIONS:
        last, activation = following, _ACTIVATIONS[following.kind()]
    with graph.insert_point_guard(last):
        fused = _fused(graph, arguments, other, activation, torch)
    last.output().replaceAllUsesWith(fused.output())


def _fused(graph: Any, arguments: list[Any], other: Any, activation: _Activation, torch: Any) -> Any:  # noqa: ANN401
    name, numbers = activation
    none = graph.insertNode(graph.create("prim::Constant", 1)).output()
    none.setType(torch._C.NoneType.get())
    scalars = graph.create("prim::ListConstruct", [graph.insertConstant(number) for number in numbers], 1)
    scalars.output().setType(torch._C.ListType(torch._C.OptionalType(torch._C.NumberType.get())))
    graph.insertNode(scalars)
    if other is None:
        inputs = [*arguments, graph.insertConstant(name), scalars.output(), none]
    else:
        unary = none if name == "none" else graph.insertConstant(name)
        image, *rest = arguments
        inputs = [image, other, *rest, graph.insertConstant("add"), none, unary, scalars.output(), none]
    return graph.insertNode(graph.create("mkldnn::_convolution_pointwise", inputs, 1))


def _only_user(node: Any) -> Any:  # noqa: ANN401 - a torch Node or None
    uses = node.output().uses()
    return uses[0].user if len(uses) == 1 else None


def _value(value: Any) -> Any:  # noqa: ANN401 - what a constant is; None also where it is none
    return value.toIValue() if value.node().kind() == "prim::Constant" else None
