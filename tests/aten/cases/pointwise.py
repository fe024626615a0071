"""Element by element."""
import torch
from make import case

f = torch.randn(2, 3)
g = torch.randn(2, 3)
row = torch.randn(3)
i = torch.randint(-5, 6, (2, 3))
j = torch.randint(1, 4, (2, 3), dtype=torch.int32)
b = torch.tensor([[True, False, True], [False, False, True]])
h = torch.randn(2, 3).half()
zero = torch.tensor(1.5)

CASES = [
    case("relu", torch.relu, f),
    case("relu_int", torch.relu, i),
    case("relu_half", torch.relu, h),
    case("sigmoid", torch.sigmoid, f),
    case("sigmoid_int", torch.sigmoid, i),
    case("add", torch.add, f, g),
    case("add_broadcast", torch.add, f, row),
    case("add_number", lambda x: x + 2, f),
    case("add_float_to_int", lambda x: x + 1.5, i),
    case("add_int_float", torch.add, i, f),
    case("add_int_types", torch.add, i, j),
    case("add_bool", torch.add, b, b),
    case("add_alpha", lambda x, y: torch.add(x, y, alpha=2.5), f, g),
    case("add_alpha_int", lambda x, y: torch.add(x, y, alpha=3), i, j),
    case("add_half_number", lambda x: x + 1.5, h),
    case("add_half_0d", torch.add, h, zero),
    case("add_in_place", lambda x, y: (x * 2).add_(y), f, g),
    case("sub", torch.sub, f, g),
    case("sub_alpha", lambda x, y: torch.sub(x, y, alpha=0.5), f, g),
    case("mul", torch.mul, f, g),
    case("mul_int_float", torch.mul, i, f),
    case("clamp_both", lambda x: x.clamp(-0.5, 0.5), f),
    case("clamp_max", lambda x: x.clamp(max=2), f),
    case("clamp_int_float", lambda x: x.clamp(min=0.5), i),
    case("clamp_tensors", lambda x, y: x.clamp(y - 1, y), f, g),
    case("dynamic_add", torch.add, f, g, dynamic={0: {0: "n", 1: "m"}, 1: {0: "n", 1: "m"}}),
]
