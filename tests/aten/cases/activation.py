"""Activations."""
import torch
import torch.nn.functional as F
from make import case

f = torch.randn(2, 3, 4) * 2
h = f.half()
i = torch.tensor([[-5, 4, 0], [3, -2, 7]])

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


for name, function in {
    "silu": F.silu, "mish": F.mish, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish, "hardtanh": F.hardtanh, "hardtanh_bounds": lambda x: F.hardtanh(x, -0.5, 2.0), "relu6": F.relu6, "elu": F.elu,
    "elu_alpha": lambda x: F.elu(x, alpha=0.7), "celu": F.celu, "celu_alpha": lambda x: F.celu(x, alpha=2.0), "selu": F.selu,
    "leaky_relu": F.leaky_relu, "leaky_relu_slope": lambda x: F.leaky_relu(x, 0.2), "rrelu": F.rrelu, "hardshrink": F.hardshrink,
    "hardshrink_lambd": lambda x: F.hardshrink(x, 1.0), "softshrink": F.softshrink, "softshrink_lambd": lambda x: F.softshrink(x, 1.5),
    "softplus": F.softplus, "softplus_beta": lambda x: F.softplus(x, beta=2), "softplus_threshold": lambda x: F.softplus(x * 3, threshold=2), "logsigmoid": F.logsigmoid,
    "threshold": lambda x: F.threshold(x, 0.5, -1.0), "glu": F.glu, "glu_dim": lambda x: F.glu(x, dim=0), "softsign": F.softsign, "tanhshrink": F.tanhshrink,
}.items():
    add(name, function, f)
for name, function in {"silu": F.silu, "gelu": F.gelu, "hardswish": F.hardswish, "softplus": F.softplus, "mish": F.mish, "elu": F.elu, "leaky_relu": F.leaky_relu,
                       "hardsigmoid": F.hardsigmoid, "logsigmoid": F.logsigmoid}.items():
    add(f"{name}_half", function, h)
add("relu6_int", F.relu6, i)
add("hardtanh_int", lambda x: F.hardtanh(x, -2, 3), i)
add("threshold_int", lambda x: F.threshold(x, 1, 20), i)
add("prelu", torch.nn.PReLU(), f)
add("prelu_channels", torch.nn.PReLU(3), f)
add("prelu_2d", torch.nn.PReLU(3), torch.randn(2, 3))
add("prelu_input", F.prelu, f, torch.tensor([0.1, 0.2, 0.3]))
add("silu_in_place", lambda x: F.silu(x + 0, inplace=True), f)
add("dynamic_glu", F.glu, f, dynamic={0: {0: "n"}})
