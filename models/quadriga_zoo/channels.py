"""A Keras model rewritten from channels-last to channels-first, for PyTorch. In zoo jobs, under KERAS_BACKEND=torch.

PyTorch's kernels want the channels first. Keras on PyTorch runs a channels-last model by transposing around every
layer, and those transposes keep TorchScript from fusing a convolution with its bias and activation.
"""

from typing import Any, Final

#: Layers that compute the same along another axis of channels, once told so.
_LAYERS: Final = frozenset(
    {
        "Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D", "Dense",
        "DepthwiseConv2D", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer",
        "MaxPooling2D", "ReLU", "SeparableConv2D", "UpSampling2D", "ZeroPadding2D",
    }
)  # fmt: skip
#: Shapes with which layers were built, in a saved configuration; they are built anew from the input.
_SHAPES_SEEN: Final = frozenset({"build_config", "build_input_shape"})
#: Where the channels are, counted with the batch: last or first.
_LAST_AXES: Final = (-1, 3)
_FIRST_AXIS: Final = 1


def channels_first(model: Any) -> Any | None:  # noqa: ANN401 - keras.Model
    """The same network over NCHW images, with the same weights.

    Returns:
        None where it cannot be rewritten: another model than one over one NHWC image, or with a layer that is not known
        to compute the same. Whoever uses the result compares it with the model: the rules here are no proof.
    """
    import keras

    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.inputs[0].shape) != 4:
        return None
    layers = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    if any(type(layer).__name__ not in _LAYERS for layer in layers) or len(model.outputs[0].shape) != 2:
        return None
    config = _rewrite(model.get_config())
    rewritten = type(model).from_config(config)
    if not rewritten.built:
        return None
    rewritten.set_weights(model.get_weights())
    return rewritten


def _rewrite(config: Any) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(config, (list, tuple)):
        return [_rewrite(value) for value in config]
    if not isinstance(config, dict):
        return config
    rewritten = {key: _rewrite(value) for key, value in config.items() if key not in _SHAPES_SEEN}
    if rewritten.get("data_format") == "channels_last":
        rewritten["data_format"] = "channels_first"
    # Of these layers only normalisation and concatenation have an axis, and theirs is that of the channels.
    if rewritten.get("axis") in _LAST_AXES:
        rewritten["axis"] = _FIRST_AXIS
    shape = rewritten.get("batch_shape")
    if isinstance(shape, list) and len(shape) == 4:
        rewritten["batch_shape"] = [shape[0], shape[3], shape[1], shape[2]]
    return rewritten
