"""Reductions, running values, norms and softmax."""
import torch
from make import case

INF, NAN = float("inf"), float("nan")
f = torch.randn(2, 3, 4)
h = f.half()
i = torch.tensor([[-5, 4, 0, 4], [3, -2, 7, 3]])
u = torch.tensor([[1, 200, 3], [255, 0, 17]], dtype=torch.uint8)
b = torch.tensor([[True, False, True], [False, False, False]])
nan = torch.tensor([[1.0, NAN, 3.0, -2.0], [NAN, NAN, 5.0, 0.5]])
inf = torch.tensor([[INF, -INF, 1.0], [-INF, -INF, -INF]])
scalar = torch.tensor(2.5)
flat = torch.randn(7)

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


for name in "sum mean prod amax amin all any max min std var argmax argmin norm median logsumexp count_nonzero aminmax".split():
    function = getattr(torch, name)
    if name == "logsumexp":
        add(name, lambda x: torch.logsumexp(x, 0), f)
    elif name in ("amax", "amin"):
        add(name, lambda x, g=function: g(x, ()), f)
    elif name == "aminmax":
        add(name, lambda x: tuple(torch.aminmax(x)), f)
    elif name in ("all", "any"):
        add(name, function, f > 0)
    else:
        add(name, function, f)
for name in "sum mean prod amax amin all any std var argmax argmin logsumexp".split():
    function = getattr(torch, name)
    x = f > 0 if name in ("all", "any") else f
    add(f"{name}_dim", lambda x, g=function: g(x, dim=1), x)
    add(f"{name}_dim_keep", lambda x, g=function: g(x, dim=-1, keepdim=True), x)
for name in "sum mean amax amin std var logsumexp all any".split():
    function = getattr(torch, name)
    add(f"{name}_dims", lambda x, g=function: g(x, dim=(0, -1)), f > 0 if name in ("all", "any") else f)
for name in "sum prod amax amin max min argmax argmin count_nonzero cumsum cumprod all any".split():
    function = getattr(torch, name)
    options = {"dim": 1} if name not in ("max", "min", "all", "any") else {}
    add(f"{name}_int", lambda x, g=function, o=options: g(x, **o), i)
for name in "sum mean amax std softmax log_softmax cumsum prod logsumexp".split():
    function = getattr(torch, name)
    add(f"{name}_half", lambda x, g=function: g(x, dim=1), h)
for name in "max min median cummax cummin mode".split():
    function = getattr(torch, name)
    add(f"{name}_dim", lambda x, g=function: tuple(g(x, dim=1)), f)
    add(f"{name}_dim_int", lambda x, g=function: tuple(g(x, dim=-1)), torch.tensor([[5, 4, 0, 9], [3, -2, 7, 1]]))
    if name in ("max", "min", "median", "mode"):
        add(f"{name}_dim_keep", lambda x, g=function: tuple(g(x, dim=0, keepdim=True)), f)
for name in "cumsum cumprod logcumsumexp softmax log_softmax".split():
    function = getattr(torch, name)
    add(name, lambda x, g=function: g(x, dim=1), f)
    add(f"{name}_last", lambda x, g=function: g(x, dim=-1), f)
    add(f"{name}_flat", lambda x, g=function: g(x, dim=0), flat)
    add(f"{name}_scalar", lambda x, g=function: g(x, dim=0), scalar)
for name, function, x in [
    ("sum_bool", lambda x: x.sum(), b), ("sum_type", lambda x: x.sum(dtype=torch.float32), i), ("sum_dim_type", lambda x: x.sum(1, dtype=torch.int64), f * 5),
    ("sum_uint8", lambda x: x.sum(1), u), ("mean_type", lambda x: x.mean(1, dtype=torch.float32), i), ("sum_scalar", lambda x: x.sum(), scalar),
    ("nansum", lambda x: torch.nansum(x), nan), ("nansum_dim", lambda x: torch.nansum(x, 1), nan), ("nanmean", lambda x: torch.nanmean(x), nan),
    ("nanmean_dim", lambda x: torch.nanmean(x, 1, keepdim=True), nan), ("any_uint8", lambda x: x.any(1), u), ("all_float", lambda x: x.all(1), f),
    ("argmax_keep", lambda x: torch.argmax(x, keepdim=True), f), ("argmax_bool", lambda x: torch.argmax(x.int(), 1), b), ("max_bool", lambda x: torch.max(x), b),
    ("var_biased", lambda x: x.var(unbiased=False), f), ("var_dim_biased", lambda x: x.var(1, unbiased=False), f), ("std_correction", lambda x: torch.std(x, dim=1, correction=2), f),
    ("var_mean", lambda x: torch.var_mean(x, dim=1), f), ("std_mean", lambda x: torch.std_mean(x), f), ("std_mean_dims", lambda x: torch.std_mean(x, dim=(1, 2), keepdim=True), f),
    ("norm_1", lambda x: torch.norm(x, p=1, dim=1), f), ("norm_3", lambda x: torch.norm(x, p=3, dim=-1, keepdim=True), f), ("norm_inf", lambda x: torch.norm(x, p=INF, dim=1), f),
    ("norm_half_p", lambda x: torch.norm(x, p=0.5, dim=1), f), ("norm_fro", lambda x: torch.norm(x, p="fro", dim=(1, 2)), f), ("vector_norm", lambda x: torch.linalg.vector_norm(x), f),
    ("vector_norm_dim", lambda x: torch.linalg.vector_norm(x, 1, dim=(0, 2), keepdim=True), f), ("vector_norm_0", lambda x: torch.linalg.vector_norm(torch.relu(x), 0, dim=1), f),
    ("vector_norm_minus_inf", lambda x: torch.linalg.vector_norm(x, -INF, dim=1), f), ("vector_norm_half", lambda x: torch.linalg.vector_norm(x, dim=1), h),
    ("logsumexp_inf", lambda x: torch.logsumexp(x, 1), inf), ("logsumexp_large", lambda x: torch.logsumexp(x * 200, 1), f), ("logcumsumexp_inf", lambda x: torch.logcumsumexp(x, 1), inf),
    ("logcumsumexp_large", lambda x: torch.logcumsumexp(x * 200, 1), f), ("cumsum_bool", lambda x: x.cumsum(1), b), ("cumsum_type", lambda x: x.cumsum(1, dtype=torch.float32), i),
    ("cumprod_type", lambda x: x.cumprod(0, dtype=torch.float32), i), ("softmax_type", lambda x: torch.softmax(x, 1, dtype=torch.float32), h),
    ("softmax_int_type", lambda x: torch.softmax(x, 1, dtype=torch.float32), i), ("softmin", lambda x: torch.nn.functional.softmin(x, dim=1), f),
    ("cummax_nan", lambda x: tuple(torch.cummax(x, 1)), nan), ("cummax_ties", lambda x: tuple(torch.cummax(x, 1)), i), ("cummin_ties", lambda x: tuple(torch.cummin(x, 1)), i),
    ("cummax_scalar", lambda x: tuple(torch.cummax(x, 0)), scalar), ("median_int", lambda x: torch.median(x), i), ("median_nan", lambda x: torch.median(x), nan),
    ("median_even", lambda x: tuple(torch.median(x, -1)), f), ("mode_ties", lambda x: tuple(torch.mode(x, -1)), i), ("kthvalue", lambda x: tuple(torch.kthvalue(x, 2)), f),
    ("kthvalue_dim", lambda x: tuple(torch.kthvalue(x, 3, dim=1, keepdim=True)), f), ("count_nonzero_dim", lambda x: torch.count_nonzero(x, dim=1), i),
    ("count_nonzero_dims", lambda x: torch.count_nonzero(x, dim=(0, 2)), torch.relu(f)), ("trapezoid", lambda x: torch.trapezoid(x), f), ("trapezoid_dx", lambda x: torch.trapezoid(x, dx=0.5, dim=0), f),
    ("cumulative_trapezoid", lambda x: torch.cumulative_trapezoid(x), f), ("renorm", lambda x: torch.renorm(x, 2, 0, 1.5), f), ("renorm_dim", lambda x: torch.renorm(x, 1, 1, 2.0), f),
    ("aminmax_dim", lambda x: tuple(torch.aminmax(x, dim=1, keepdim=True)), f), ("normalize", lambda x: torch.nn.functional.normalize(x, dim=1), f), ("prod_type", lambda x: x.prod(dtype=torch.float32), i),
    ("amax_bool", lambda x: torch.amax(x, 1), b), ("median_dim_nan", lambda x: tuple(torch.median(x, 1)), nan),
]:
    add(name, function, x)
g = torch.randn(2, 3, 4)
add("max_other", torch.max, f, g)
add("min_other_types", torch.min, i, i.float() + 0.5)
add("trapezoid_x", lambda y, x: torch.trapezoid(y, x), f, torch.tensor([0.0, 0.5, 2.0, 2.5]))
add("dist", torch.dist, f, g)
add("dist_1", lambda x, y: torch.dist(x, y, 1), f, g)
add("pairwise_distance", torch.nn.functional.pairwise_distance, f, g)
add("pairwise_distance_1", lambda x, y: torch.nn.functional.pairwise_distance(x, y, p=1, keepdim=True), f, g)
add("cosine_similarity", torch.cosine_similarity, f, g)
add("cosine_similarity_last", lambda x, y: torch.cosine_similarity(x, y, dim=-1, eps=1e-3), f, g[:1])
open_dims = {0: {0: "n", 1: "m"}}
for name, function in {"sum": lambda x: x.sum(1), "mean": lambda x: x.mean((0, 1)), "var": lambda x: x.var(1), "std": lambda x: x.std(), "cummax": lambda x: tuple(x.cummax(1)),
                       "logcumsumexp": lambda x: x.logcumsumexp(1), "median": lambda x: tuple(x.median(1)), "softmax": lambda x: x.softmax(1)}.items():
    add(f"dynamic_{name}", function, f, dynamic=open_dims)
