"""Keys of Triton's ModelConfig that are not served, and what to do instead. Runs in the server process.

Whatever value such a key has, it is refused: one that were passed over could be the one that somebody relies on.
"""

from typing import Final

#: By message and key.
UNSERVED: Final[dict[tuple[str, str], str]] = {
    ("ModelConfig", "sequence_batching"): "stateful sequences are not served; leave it out if the model keeps no state",
    ("ModelConfig", "ensemble_scheduling"): "ensembles are not served; serve each model, and chain them in the client",
    ("ModelConfig", "response_cache"): "responses are not cached; leave it out",
    ("ModelConfig", "optimization"): "each backend runs its models the fastest way it knows; leave it out",
    ("ModelConfig", "model_transaction_policy"): "every request has one response; leave it out",
    ("ModelConfig", "batch_input"): "requests of unequal shapes do not share a batch; leave it out",
    ("ModelConfig", "batch_output"): "requests of unequal shapes do not share a batch; leave it out",
    ("ModelConfig", "cc_model_filenames"): "one file serves every GPU; name it in default_model_filename",
    ("ModelConfig", "metric_tags"): "metrics have fixed labels; leave it out",
    ("ModelConfig", "model_metrics"): "histograms have fixed bounds; leave it out",
    ("ModelConfig", "model_operations"): "custom operators are not loaded; export the model without them",
    ("ModelConfig", "model_repository_agents"): "repositories have no agents; leave it out",
    ("ModelConfig", "runtime"): "backend names what runs the model; leave it out",
    ("ModelInput", "reshape"): "inputs reach the model as they are; declare the model's own dims",
    ("ModelInput", "is_shape_tensor"): "shape tensors are TensorRT's; leave it out",
    ("ModelInput", "is_non_linear_format_io"): "such formats are TensorRT's; leave it out",
    ("ModelInput", "allow_ragged_batch"): "requests of unequal shapes do not share a batch; leave it out",
    ("ModelOutput", "reshape"): "outputs leave as the model gives them; declare the model's own dims",
    ("ModelOutput", "is_shape_tensor"): "shape tensors are TensorRT's; leave it out",
    ("ModelOutput", "is_non_linear_format_io"): "such formats are TensorRT's; leave it out",
    ("ModelInstanceGroup", "rate_limiter"): "an instance runs whenever it has a batch; leave it out",
    ("ModelInstanceGroup", "profile"): "optimisation profiles are TensorRT's; leave it out",
    ("ModelInstanceGroup", "passive"): "every instance takes requests; leave it out",
    ("ModelInstanceGroup", "secondary_devices"): "an instance has one device; leave it out",
    ("ModelInstanceGroup", "host_policy"): "workers are not bound to processors; leave it out",
}
