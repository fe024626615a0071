"""Element by element: arithmetic, comparisons, rounding, special functions, other types."""
import torch
from make import case

INF, NAN = float("inf"), float("nan")
f = torch.randn(2, 3)
g = torch.randn(2, 3)
row = torch.randn(3)
col = torch.randn(2, 1)
i = torch.tensor([[-5, 4, 0], [3, -2, 7]])
k = torch.tensor([[2, -3, 5], [-2, 3, 4]])
j = torch.tensor([[1, 2, 3], [3, 1, 2]], dtype=torch.int32)
u = torch.tensor([[1, 200, 3], [255, 0, 17]], dtype=torch.uint8)
b = torch.tensor([[True, False, True], [False, False, True]])
c = torch.tensor([[True, True, False], [False, True, True]])
h = torch.randn(2, 3).half()
d = torch.randn(2, 3, dtype=torch.float64)
zero_d = torch.tensor(1.5)
unit = torch.tensor([[-0.9, -0.5, 0.0], [0.1, 0.5, 0.99]])
positive = torch.tensor([[0.1, 0.5, 1.0], [2.0, 10.0, 30.0]])
special = torch.tensor([[INF, -INF, NAN], [0.0, -0.0, 1e-30]])
halves = torch.tensor([[-2.5, -1.5, -0.5], [0.5, 1.5, 2.5]])
tiny = torch.tensor([[1e-7, -1e-6, 1e-4], [-1e-8, 0.0, 3e-5]])

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


# functions of one tensor, by what they are tried on
for name, tried in {
    "abs": [f, i, h], "neg": [f, i], "sign": [f, i, special], "sgn": [f, i], "ceil": [f, i, h], "floor": [f, i], "trunc": [f, i, special],
    "fix": [f], "round": [halves, i], "relu": [f, i, h], "sigmoid": [f, i, h], "acos": [unit], "asin": [unit], "atan": [f, i],
    "acosh": [positive + 1], "asinh": [f], "atanh": [unit], "cos": [f, i], "cosh": [f], "sin": [f, i], "sinh": [f], "tan": [f],
    "tanh": [f, i, h], "erf": [f], "exp": [f, i, h], "log": [positive, i.abs() + 1], "sqrt": [positive, i.abs()], "reciprocal": [f, k],
    "deg2rad": [f * 90, i], "rad2deg": [f], "erfc": [f, f * 3], "exp2": [f, i], "expm1": [f, tiny, f * 20, special],
    "log1p": [positive, tiny, special, h.abs()], "log2": [positive, i.abs() + 1], "log10": [positive], "rsqrt": [positive, i.abs() + 1, h.abs()],
    "sinc": [f, tiny, torch.zeros(2)], "square": [f, i], "frac": [f * 5], "logit": [unit.abs() + 0.001], "isnan": [special, i], "isinf": [special, i],
    "isposinf": [special], "isneginf": [special], "isfinite": [special, i, h], "signbit": [special, i, b], "nan_to_num": [special, i, special.half()],
    "logical_not": [f, i, b], "bitwise_not": [i, b, u], "positive": [f], "digamma": [f, positive, i.abs() + 1], "lgamma": [f, positive, positive * 20],
    "erfinv": [unit], "i0": [f, f * 10, i], "negative": [f], "zeros_like": [f, i], "ones_like": [f, b], "clone": [f], "arccos": [unit],
}.items():
    for n, x in enumerate(tried):
        add(name if not n else f"{name}_{n}", getattr(torch, name), x)
for name, tried in {
    "i0e": [f * 10], "i1": [f, f * 10], "i1e": [f, f * 20], "ndtr": [f * 2], "ndtri": [unit.abs() + 0.001], "entr": [unit.abs(), special],
    "erfcx": [f, positive], "log_ndtr": [f * 4], "gammaln": [f], "psi": [positive], "expit": [f], "exp2": [f], "xlog1py": [],
}.items():
    for n, x in enumerate(tried):
        add(f"special_{name}" if not n else f"special_{name}_{n}", getattr(torch.special, name), x)
for n in (0, 1, 2, 4):
    add(f"polygamma_{n}", lambda x, n=n: torch.polygamma(n, x), positive)
add("polygamma_int", lambda x: torch.polygamma(1, x), i.abs() + 1)

# of two tensors: types, broadcasting, numbers in place of tensors
for name, tried in {
    "add": [(f, g), (f, row), (col, row), (i, f), (i, j), (i, u), (b, c), (h, zero_d), (h, f), (f, d), (u, b)],
    "sub": [(f, g), (i, f), (j, u)], "mul": [(f, g), (i, f), (b, c), (h, h), (b, i)], "div": [(f, g), (i, k), (f, row), (b, j)],
    "true_divide": [(i, k)], "floor_divide": [(f, g), (i, k), (u, j.to(torch.uint8))],
    "remainder": [(f, g), (i, k), (h, h + 3)], "fmod": [(f, g), (i, k)], "pow": [(positive, f), (i, j.long()), (f, i.abs()), (i, f.abs())],
    "float_power": [(f.abs(), g)], "eq": [(i, k), (f, f), (b, c)], "ne": [(i, k), (f, g)], "lt": [(f, g), (i, f), (b, c)], "le": [(i, k)],
    "gt": [(f, row), (u, j)], "ge": [(f, g)], "maximum": [(f, g), (i, f), (b, c)], "minimum": [(f, g), (i, k)],
    "fmax": [(special, f), (i, k)], "fmin": [(special, f)], "logical_and": [(f, i), (b, c)], "logical_or": [(b, i)], "logical_xor": [(b, c), (f, g)],
    "bitwise_and": [(i, k), (b, c)], "bitwise_or": [(i, k), (b, c)], "bitwise_xor": [(u, u.flip(0)), (b, c)],
    "bitwise_left_shift": [(i, j.long()), (u, j.to(torch.uint8))], "bitwise_right_shift": [(i, j.long()), (u, j.to(torch.uint8))],
    "atan2": [(f, g), (special, f), (f * 0, special), (i, f)], "copysign": [(f, g), (f, special)], "heaviside": [(torch.tensor([-1.0, 0.0, 2.0]), row)],
    "hypot": [(f, g), (f * 1e30, g * 1e30), (special, f)], "xlogy": [(f, positive), (f * 0, special)], "logaddexp": [(f, g), (special, special), (f * 50, g)],
    "logaddexp2": [(f, g), (f * 90, g)], "isclose": [(f, f + 1e-9), (special, special), (f, f + 1e-3)], "ldexp": [(f, j)], "greater": [(f, g)],
    "less_equal": [(f, g)], "subtract": [(f, g)], "multiply": [(f, g)], "divide": [(f, g)], "not_equal": [(f, g)],
}.items():
    for n, xs in enumerate(tried):
        add(name if not n else f"{name}_{n}", getattr(torch, name), *xs)
add("special_xlog1py", torch.special.xlog1py, f, positive)
for name, function, x in [
    ("add_number", lambda x: x + 2, f), ("add_float_to_int", lambda x: x + 1.5, i), ("add_half_number", lambda x: x + 1.5, h),
    ("add_bool_number", lambda x: x + 2, b), ("add_big_number", lambda x: x + (1 << 40) + 1, i), ("add_in_place", lambda x: (x * 2).add_(3), f),
    ("mul_number", lambda x: 2.5 * x, i), ("sub_number", lambda x: x - 1, f), ("rsub_number", lambda x: 1 - x, f), ("rsub_int", lambda x: 1.5 - x, i),
    ("rsub", lambda x: torch.rsub(x, x * 2, alpha=3), f), ("div_number", lambda x: x / 4, i), ("div_floor", lambda x: torch.div(x, 0.3, rounding_mode="floor"), f),
    ("div_floor_exact", lambda x: torch.div(x, 0.1, rounding_mode="floor"), torch.tensor([1.0, 0.3, -1.0, 0.7])),
    ("div_floor_int", lambda x: torch.div(x, 3, rounding_mode="floor"), i), ("div_trunc", lambda x: torch.div(x, 0.3, rounding_mode="trunc"), f),
    ("div_trunc_int", lambda x: torch.div(x, 3, rounding_mode="trunc"), i), ("floor_divide_number", lambda x: x // 2, i),
    ("div_floor_zero", lambda x: torch.div(x, 0.0, rounding_mode="floor"), f), ("remainder_number", lambda x: x % 3, i),
    ("remainder_float", lambda x: x % 0.7, f), ("fmod_number", lambda x: torch.fmod(x, 2), f), ("pow_number", lambda x: x ** 3, f),
    ("pow_float_of_int", lambda x: x ** 0.5, i.abs()), ("pow_square", lambda x: x ** 2, i), ("pow_base", lambda x: 2 ** x, f), ("pow_half", lambda x: x ** 2.0, h),
    ("eq_number", lambda x: x == 3, i), ("ne_float", lambda x: x != 0.5, i), ("lt_number", lambda x: x < 0, f), ("ge_int_of_float", lambda x: x >= 1, f),
    ("round_decimals", lambda x: torch.round(x, decimals=2), f), ("round_tens", lambda x: torch.round(x * 100, decimals=-1), f),
    ("logit_eps", lambda x: torch.logit(x, eps=0.1), unit), ("nan_to_num_given", lambda x: torch.nan_to_num(x, 1.0, 2.0, -3.0), special),
    ("and_", lambda x: x & 3, i), ("or_", lambda x: x | 8, i), ("xor_", lambda x: x ^ 5, i), ("shift_left", lambda x: x << 2, i), ("shift_right", lambda x: x >> 1, i),
    ("clamp_both", lambda x: x.clamp(-0.5, 0.5), f), ("clamp_max", lambda x: x.clamp(max=2), f), ("clamp_int_float", lambda x: x.clamp(min=0.5), i),
    ("clamp_int", lambda x: x.clamp(-2, 3), i), ("clamp_min", lambda x: torch.clamp_min(x, 0.1), f), ("clamp_max_", lambda x: torch.clamp_max(x, 0.1), f),
    ("clamp_nan", lambda x: x.clamp(-1, 1), special), ("full_like", lambda x: torch.full_like(x, 3), f), ("full_like_type", lambda x: torch.full_like(x, 3, dtype=torch.int64), f),
    ("zeros_like_type", lambda x: torch.zeros_like(x, dtype=torch.bool), f), ("fill", lambda x: x.clone().fill_(2.5), f), ("to_int", lambda x: x.to(torch.int64), f * 5),
    ("to_half", lambda x: x.half(), f), ("to_double", lambda x: x.double(), h), ("to_bool", lambda x: x.bool(), i), ("to_uint8", lambda x: x.to(torch.uint8), i.abs()),
    ("to_bfloat16", lambda x: x.to(torch.bfloat16).float(), f), ("contiguous", lambda x: (x * 2).contiguous(), f), ("detach", lambda x: (x * 2).detach(), f),
    ("masked_fill", lambda x: x.masked_fill(x > 0, -1), f), ("masked_fill_int", lambda x: x.masked_fill(x > 0, -1), i),
    ("masked_fill_inf", lambda x: x.masked_fill(x < 0, -INF), f), ("where_number", lambda x: torch.where(x > 0, x, 0), f),
    ("where_numbers", lambda x: torch.where(x > 0, 1.0, 0.0), f), ("where_int_float", lambda x: torch.where(x > 0, x, 0.5), i),
    ("fake_quantize", lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 255), f),
]:
    add(name, function, x)
add("add_alpha", lambda x, y: torch.add(x, y, alpha=2.5), f, g)
add("add_alpha_int", lambda x, y: torch.add(x, y, alpha=3), i, j)
add("sub_alpha", lambda x, y: torch.sub(x, y, alpha=0.5), f, g)
add("clamp_tensors", lambda x, y: x.clamp(y - 1, y), f, g)
add("clamp_tensor_types", lambda x, y: x.clamp(min=y), i, f)
add("addcmul", lambda x, y, z: torch.addcmul(x, y, z), f, g, row)
add("addcmul_value", lambda x, y, z: torch.addcmul(x, y, z, value=0.5), f, g, f)
add("addcmul_int", lambda x, y, z: torch.addcmul(x, y, z, value=2), i, k, k)
add("addcdiv", lambda x, y, z: torch.addcdiv(x, y, z, value=-2), f, g, positive)
add("lerp", lambda x, y: torch.lerp(x, y, 0.3), f, g)
add("lerp_far", lambda x, y: torch.lerp(x, y, 0.8), f, g)
add("lerp_tensor", torch.lerp, f, g, unit)
add("where", lambda m, x, y: torch.where(m, x, y), b, f, g)
add("where_types", lambda m, x, y: torch.where(m, x, y), b, i, f)
add("type_as", lambda x, y: x.type_as(y), i, f)
add("to_other", lambda x, y: x.to(y), f, i)
add("masked_fill_tensor", lambda x, v: x.masked_fill(x > 0, v), f, torch.tensor(2.0))
add("fake_quantize_channels", lambda x, s, z: torch.fake_quantize_per_channel_affine(x, s, z, 1, -128, 127), f, torch.tensor([0.1, 0.2, 0.05]),
    torch.tensor([0, 3, -5], dtype=torch.int32))
add("dynamic_add", torch.add, f, g, dynamic={0: {0: "n", 1: "m"}, 1: {0: "n", 1: "m"}})
add("dynamic_zeros_like", lambda x: torch.zeros_like(x) + x, f, dynamic={0: {0: "n"}})
add("dynamic_chain", lambda x: torch.log1p(torch.relu(x)).clamp(max=1) * 3, f, dynamic={0: {0: "n"}})
add("fallthrough_special", lambda x: torch.special.i0(x) + torch.relu(x), f, fallthrough=True)
