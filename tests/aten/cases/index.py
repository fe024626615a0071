"""Gathering, scattering, sorting, counting and looking up."""
import torch
import torch.nn.functional as F
from make import call, case

f = torch.randn(3, 4, 5)
m = torch.randn(3, 4)
v = torch.randn(6)
i = torch.randint(-4, 5, (3, 4))
ties = torch.tensor([[3, 1, 3, 2], [0, 0, -1, 5], [2, 2, 2, 2]])
rows = torch.tensor([2, 0, 1, 2])
at = torch.tensor([[0, 3, 1], [2, 2, 0]])
b = m > 0
scalar = torch.tensor(2.5)
bounds = torch.tensor([-1.0, 0.0, 0.5, 2.0])
src = torch.randn(2, 3)
dup = torch.tensor([[0, 1, 1], [1, 0, 1]])

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


for name, function, xs in [
    ("index_select", lambda x, k: torch.index_select(x, 0, k), (f, rows)), ("index_select_dim", lambda x, k: torch.index_select(x, -1, k), (f, rows)), ("index_select_int32", lambda x, k: torch.index_select(x, 1, k), (f, rows.int())),
    ("gather", lambda x, k: torch.gather(x, 1, k), (m, at)), ("gather_0", lambda x, k: torch.gather(x, 0, k), (m, at % 3)), ("gather_negative", lambda x, k: torch.gather(x, -1, k), (i, at)), ("take", torch.take, (m, torch.tensor([[0, 11], [5, -1]]))),
    ("take_along_dim", lambda x, k: torch.take_along_dim(x, k, 1), (m, at[:1])), ("take_along_dim_flat", lambda x, k: torch.take_along_dim(x, k), (m, torch.tensor([0, 7, 2]))), ("embedding", lambda w, k: F.embedding(k, w), (m, at % 3)),
    ("embedding_padding", lambda w, k: F.embedding(k, w, padding_idx=0), (m, at % 3)), ("index", lambda x, k: x[k], (f, rows)), ("index_matrix", lambda x, k: x[k], (f, at % 3)), ("index_second", lambda x, k: x[:, k], (f, rows)),
    ("index_last", lambda x, k: x[..., k], (f, rows)), ("index_negative", lambda x, k: x[k - 3], (f, rows)), ("index_two", lambda x, k, l: x[k, l], (f, rows, torch.tensor([0, 3, 1, 2]))), ("index_broadcast", lambda x, k, l: x[k[:, None], l], (f, rows, torch.tensor([0, 3, 1]))),
    ("index_two_last", lambda x, k, l: x[:, k, l], (f, rows, torch.tensor([0, 4, 1, 2]))), ("index_apart", lambda x, k, l: x[k, :, l], (f, rows, torch.tensor([0, 4, 1, 2]))), ("index_mask", lambda x: x[x > 0], (m,)),
    ("index_mask_rows", lambda x, k: x[k], (f, torch.tensor([True, False, True]))), ("index_mask_second", lambda x, k: x[:, k], (f, torch.tensor([True, False, True, True]))), ("index_mask_two", lambda x, k: x[k], (f, b)),
    ("masked_select", lambda x: torch.masked_select(x, x > 0.2), (m,)), ("masked_select_broadcast", lambda x, k: torch.masked_select(x, k), (m, torch.tensor([True, False, True, False]))), ("masked_scatter", lambda x, s: x.masked_scatter(x > 0, s), (m, torch.randn(12))),
    ("nonzero", torch.nonzero, (torch.relu(m),)), ("nonzero_int", torch.nonzero, (i,)), ("argwhere", torch.argwhere, (b,)), ("isin", torch.isin, (i, torch.tensor([1, 2, -3]))), ("isin_invert", lambda x, k: torch.isin(x, k, invert=True), (i, torch.tensor([1, 2, -3]))),
    ("scatter", lambda x, k, s: torch.scatter(x, 1, k, s), (m, at, src)), ("scatter_value", lambda x, k: torch.scatter(x, 1, k, 2.5), (m, at)), ("scatter_larger", lambda x, k, s: torch.scatter(x, 0, k, s), (m, at % 3, torch.randn(4, 4))),
    ("scatter_add_mode", lambda x, k, s: torch.scatter(x, 1, k, s, reduce="add"), (m, dup, src)), ("scatter_multiply", lambda x, k, s: torch.scatter(x, 1, k, s, reduce="multiply"), (m, dup, src)), ("scatter_value_add", lambda x, k: torch.scatter(x, 1, k, 2.0, reduce="add"), (m, at)),
    ("scatter_add", lambda x, k, s: torch.scatter_add(x, 1, k, s), (m, dup, src)), ("scatter_add_int", lambda x, k, s: torch.scatter_add(x, 0, k, s), (i, dup, torch.tensor([[1, 2, 3], [4, 5, 6]]))),
    *[(f"scatter_reduce_{r}{'' if s else '_exclude'}", lambda x, k, v, r=r, s=s: torch.scatter_reduce(x, 1, k, v, r, include_self=s), (m, dup, src)) for r in ("sum", "prod", "mean", "amax", "amin") for s in (True, False)],
    ("index_add", lambda x, k, s: torch.index_add(x, 0, k, s), (m, torch.tensor([2, 0]), torch.randn(2, 4))), ("index_add_alpha", lambda x, k, s: torch.index_add(x, 1, k, s, alpha=-2), (m, torch.tensor([1, 1]), torch.randn(3, 2))),
    ("index_copy", lambda x, k, s: torch.index_copy(x, 0, k, s), (m, torch.tensor([2, 0]), torch.randn(2, 4))), ("index_fill", lambda x, k: torch.index_fill(x, 1, k, -1), (m, torch.tensor([0, 2]))), ("index_fill_int", lambda x, k: torch.index_fill(x, 0, k, 7), (i, torch.tensor([1]))),
    ("index_reduce", lambda x, k, s: torch.index_reduce(x, 0, k, s, "amax"), (m, torch.tensor([2, 0]), torch.randn(2, 4))), ("index_put_mask", lambda x: torch.index_put(x, (x > 0,), torch.tensor(0.5)), (m,)),
    ("sort", lambda x: tuple(torch.sort(x)), (f,)), ("sort_dim", lambda x: tuple(torch.sort(x, 1, descending=True)), (f,)), ("sort_stable", lambda x: tuple(torch.sort(x, stable=True)), (ties,)), ("sort_stable_down", lambda x: tuple(torch.sort(x, stable=True, descending=True)), (ties,)),
    ("sort_scalar", lambda x: tuple(torch.sort(x)), (scalar,)), ("sort_half", lambda x: torch.sort(x)[0], (m.half(),)), ("argsort", lambda x: torch.argsort(x, 1), (m,)), ("argsort_down", lambda x: torch.argsort(x, dim=0, descending=True), (m,)), ("msort", torch.msort, (m,)),
    ("topk", lambda x: tuple(torch.topk(x, 2)), (m,)), ("topk_dim", lambda x: tuple(torch.topk(x, 2, dim=0, largest=False)), (m,)), ("topk_all", lambda x: tuple(torch.topk(x, 4, sorted=True)), (m,)), ("bucketize", torch.bucketize, (m, bounds)),
    ("bucketize_right", lambda x, k: torch.bucketize(x, k, right=True), (torch.tensor([0.0, 0.5, 3.0, -2.0]), bounds)), ("bucketize_int32", lambda x, k: torch.bucketize(x, k, out_int32=True), (m, bounds)), ("searchsorted", lambda k, x: torch.searchsorted(k, x), (bounds, m)),
    ("searchsorted_rows", lambda k, x: torch.searchsorted(k, x), (torch.sort(m, 1)[0], torch.randn(3, 2))), ("searchsorted_side", lambda k, x: torch.searchsorted(k, x, side="right"), (bounds, torch.tensor([0.0, 0.5, 3.0]))),
    ("searchsorted_sorter", lambda k, x, s: torch.searchsorted(k, x, sorter=s), (bounds.flip(0), m, torch.tensor([3, 2, 1, 0]))), ("unique", lambda x: torch.unique(x), (ties,)), ("unique_inverse", lambda x: torch.unique(x, return_inverse=True), (ties,)),
    ("unique_counts", lambda x: torch.unique(x, return_inverse=True, return_counts=True), (ties.float(),)), ("unique_dim", lambda x: torch.unique(x, dim=0), (torch.cat((ties, ties)),)), ("one_hot", lambda x: F.one_hot(x, 5), (at,)),
    ("embedding_bag", lambda w, k, o: F.embedding_bag(k, w, o, mode="sum"), (m, torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 2]))), ("embedding_bag_mean", lambda w, k, o: F.embedding_bag(k, w, o, mode="mean"), (m, torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 2]))),
    ("embedding_bag_max", lambda w, k, o: F.embedding_bag(k, w, o, mode="max"), (m, torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 2]))), ("embedding_bag_empty", lambda w, k, o: F.embedding_bag(k, w, o, mode="mean"), (m, torch.tensor([0, 2, 1]), torch.tensor([0, 2, 2]))),
    ("embedding_bag_weights", lambda w, k, o, s: F.embedding_bag(k, w, o, mode="sum", per_sample_weights=s), (m, torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 2]), torch.rand(5))),
    ("embedding_bag_2d", lambda w, k: F.embedding_bag(k, w, mode="sum"), (m, torch.tensor([[0, 2], [1, 1]]))), ("embedding_bag_last", lambda w, k, o: F.embedding_bag(k, w, o, mode="sum", include_last_offset=True), (m, torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 2, 5]))),
]:
    add(name, function, *xs)
n = {0: {0: "n"}}
for name, function, xs in [("index_mask", lambda x: x[x > 0], (m,)), ("index_two", lambda x, k, l: x[k, l], (f, rows, torch.tensor([0, 3, 1, 2]))), ("sort", lambda x: tuple(torch.sort(x, 0)), (m,)), ("scatter_add", lambda x, k, s: torch.scatter_add(x, 1, k, s), (m, dup, src)),
                           ("topk", lambda x: tuple(torch.topk(x, 2, 0)), (m,)), ("unique", lambda x: torch.unique(x), (ties,)),
                           ("bucketize", torch.bucketize, (m, bounds)), ("gather", lambda x, k: torch.gather(x, 1, k), (m, at))]:
    add(f"dynamic_{name}", function, *xs, dynamic=n)
one, two = torch.tensor([2, 0]), torch.tensor([1, 3])
for name, arguments in {
    "index_put": (m, [one], torch.randn(2, 4), False), "index_put_two": (m, [one, two], torch.randn(2), False), "index_put_number": (m, [one], torch.tensor(1.5), False),
    "index_put_add": (m, [torch.tensor([2, 2])], torch.randn(2, 4), True), "index_put_second": (m, [None, two], torch.randn(3, 2), False), "index_put_apart": (f, [one, None, two], torch.randn(2, 4), False),
    "index_put_last": (f, [None, one, two], torch.randn(3, 2), False), "index_put_rows": (f, [torch.tensor([True, False, True])], torch.randn(4, 5), False),
}.items():
    CASES.append(call(name, "index_put", *arguments))
CASES.append(call("index_none", "index.Tensor", f, [None, one], domain="aten"))
CASES.append(call("index_apart_none", "index.Tensor", f, [one, None, two]))
