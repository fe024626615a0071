"""Operators that PyTorch's exporter or its front end writes under another name: called as they are."""
import torch
from make import call, case

f = torch.randn(2, 3)
g = torch.randn(2, 3)
i = torch.tensor([[-5, 4, 0], [3, -2, 7]])
x2 = torch.randn(2, 4, 8, 9)
x3 = torch.randn(1, 4, 5, 6, 7)
s = torch.randn(3, 3) + 2 * torch.eye(3)
one = torch.tensor(2.5)
h, w, r = torch.randn(2, 5), torch.randn(15, 3), torch.randn(15, 5)
F32, I64 = torch.float32, torch.int64

CASES = [call(name, *arguments) for name, arguments in {
    "adaptive_avg_pool3d": ("_adaptive_avg_pool3d", x3, [5, 3, 1]), "nearest_exact3d": ("_upsample_nearest_exact3d", x3, [7, 6, 5], None, None, None), "native_group_norm": ("native_group_norm", x2, torch.rand(4), torch.rand(4), 2, 4, 72, 2, 1e-5),
    "native_batch_norm": ("native_batch_norm", x2, torch.rand(4), None, torch.rand(4), torch.rand(4) + 0.1, False, 0.1, 1e-5), "gru_cell": ("gru_cell", f, h, w, r, torch.randn(15), torch.randn(15)), "rnn_tanh_cell": ("rnn_tanh_cell", f, h, torch.randn(5, 3), torch.randn(5, 5), None, None),
    "rnn_relu_cell": ("rnn_relu_cell", f, h, torch.randn(5, 3), torch.randn(5, 5), torch.randn(5), torch.randn(5)), "adjoint": ("adjoint", f), "matrix_H": ("matrix_H", f), "numpy_T": ("numpy_T", x3), "chunk": ("chunk", x2, 3, 1), "concat": ("concat", [f, g], 1), "concatenate": ("concatenate", [f, g], 0),
    "constant_pad_nd": ("constant_pad_nd", f, [1, 2], 1.5), "constant_pad_nd_cut": ("constant_pad_nd", f, [-1, 1, 1, 0], 0), "moveaxis": ("moveaxis.int", x2, 1, -1), "swapaxes": ("swapaxes", f, 0, 1), "swapdims": ("swapdims", f, 0, -1), "row_stack": ("row_stack", [f, g]), "resolve_conj": ("resolve_conj", f),
    "resolve_neg": ("resolve_neg", f), "reflection_pad1d": ("reflection_pad1d", f, [1, 2]), "reflection_pad2d": ("reflection_pad2d", x2, [1, 2, 3, 0]), "reflection_pad3d": ("reflection_pad3d", x3, [1, 2, 0, 1, 2, 1]), "replication_pad1d": ("replication_pad1d", f, [1, 2]),
    "replication_pad2d": ("replication_pad2d", x2, [1, 2, 3, 0]), "replication_pad3d": ("replication_pad3d", x3, [1, 2, 0, 1, 2, 1]), "unsafe_split": ("unsafe_split.Tensor", x2, 3, 1), "unsafe_split_with_sizes": ("unsafe_split_with_sizes", x2, [1, 3], 1), "log_softmax": ("_log_softmax", f, 1, False),
    "softmax": ("_softmax", f, -1, False), "norm": ("norm.Scalar", f, 2), "norm_dim": ("norm.ScalarOpt_dim", f, 3, [1], True), "norm_type": ("norm.ScalarOpt_dim_dtype", f, 1, [0], False, F32), "frobenius_norm": ("frobenius_norm.dim", f, [1], False), "alias": ("alias", f), "lift": ("lift_fresh_copy", f), "to_copy": ("_to_copy", f, torch.float64, None, None, None, False, None),
    "divide": ("divide.Tensor", f, g), "divide_mode": ("divide.Scalar_mode", i, 2, "floor"), "true_divide": ("true_divide.Scalar", i, 3), "multiply": ("multiply.Scalar", f, 2.5), "subtract": ("subtract.Tensor", f, g, 2), "negative": ("negative", f), "fix": ("fix", f * 3), "greater": ("greater.Scalar", f, 0.5),
    "greater_equal": ("greater_equal.Tensor", f, g), "less": ("less.Tensor", f, g), "less_equal": ("less_equal.Scalar", i, 3), "not_equal": ("not_equal.Tensor", i, i.flip(1)), "real": ("real", f), "fill": ("fill.Scalar", f, 3), "fill_tensor": ("fill.Tensor", f, torch.tensor(4)), "unique": ("_unique", i.flip(1), True, True),
    "unique_plain": ("_unique2", torch.tensor([3, 1, 3]), True, False, True), "index_put_impl": ("_index_put_impl", f, [torch.tensor([1])], torch.randn(1, 3), False, False),
    "det": ("det", s), "ger": ("ger", torch.randn(3), torch.randn(4)), "inverse": ("inverse", s), "matrix_power": ("matrix_power", s, 4), "cudnn": ("group_norm", x2, 2, None, None, 1e-3, True), "add_lost": ("add.Tensor", f, i, 2), "sum_none": ("sum.dim_IntList", f, None, False, None), "mean_none": ("mean.dim", x2, [2, 3], True, None),
    "clamp_scalars": ("clamp", i, -1, 3), "pow_scalar": ("pow.Scalar", 2, f), "all_dims": ("all.dims", f > 0, [0, 1], True), "argmax_none": ("argmax", f, None, False), "bucketize_int": ("bucketize.Tensor", f, torch.tensor([-1.0, 0.0, 1.0]), True, True), "logit_none": ("logit", f.sigmoid(), None), "std_correction": ("std.correction", x2, [1], 0, True),
    "var_names": ("var.correction", x2, None, None, False), "scatter_scalar": ("scatter.value", f, 1, torch.tensor([[0], [2]]), 9.0), "repeat_none": ("repeat_interleave.self_int", f, 2, None, None), "where_scalars": ("where.Scalar", f > 0, 1, 0), "max_unary": ("max", i), "roll_flat": ("roll", f, [2], []), "squeeze_dims": ("squeeze.dims", torch.randn(1, 3, 1), [0, 2]),
}.items()]
# the same under the other spelling
CASES += [call(f"{name}_fallthrough", *arguments, domain="aten") for name, arguments in {
    "add": ("add.Tensor", f, g, 1), "mean": ("mean.dim", f, [1], False, None), "cat": ("cat", [f, g], 0), "softmax": ("softmax.int", f, 1, None), "layer_norm": ("layer_norm", f, [3], None, None, 1e-5, True), "view": ("view", f, [3, 2]), "cummax": ("cummax", f, 1),
}.items()]
# made from nothing: the result is added to a tensor, so that there is an input
CASES += [call(name, *arguments) for name, arguments in {
    "new_full": ("new_full", f, [2, 2], 3, None, None, None, None), "new_zeros": ("new_zeros", i, [2], F32, None, None, None), "new_ones": ("new_ones", f, [3], None, None, None, None), "ones_like": ("ones_like", f, I64, None, None, None, None), "full_like": ("full_like", i, 2.5, None, None, None, None, None),
}.items()]
CASES += [call(name, *arguments) for name, arguments in {
    "arange": ("arange", 5, None, None, None, None), "arange_step": ("arange.start_step", 1, 2, 0.25, None, None, None, None), "arange_type": ("arange.start", 1, 4, F32, None, None, None), "full": ("full", [2, 2], 1.5, None, None, None, None), "full_int": ("full", [2], 3, None, None, None, None), "ones": ("ones", [2, 3], None, None, None, None),
    "zeros": ("zeros", [2, 3], I64, None, None, None), "eye": ("eye", 3, None, None, None, None), "eye_wide": ("eye.m", 2, 4, I64, None, None, None), "linspace": ("linspace", -1.0, 1.0, 7, None, None, None, None), "linspace_one": ("linspace", 3, 4, 1, None, None, None, None), "logspace": ("logspace", 0.0, 2.0, 5, 10.0, None, None, None, None),
    "scalar_tensor": ("scalar_tensor", 2.5, None, None, None, None), "tril_indices": ("tril_indices", 3, 4, 0, I64, None, None, None), "triu_indices": ("triu_indices", 4, 3, 1, None, None, None, None),
}.items()]
CASES.append(call("embedding_bag", "_embedding_bag", torch.randn(4, 3), torch.tensor([1, 2, 0, 3]), torch.tensor([0, 3]), False, 0, False, None, False, -1, results=1))
CASES += [call("item", "item", torch.randn(1, 1)), call("int", "Int.Tensor", torch.tensor(7)), call("float", "Float.Tensor", torch.tensor(2.5)), call("bool", "Bool.Tensor", torch.tensor(3)),
          call("list_unpack", "ListUnpack", [f, g, f * 2], domain="prim")]
# what is not filled is asked for its shape alone
CASES += [case("empty_like", lambda x: torch.zeros_like(torch.empty_like(x)), f), case("new_empty", lambda x: torch.ones_like(x.new_empty((2, 5))), f),
          case("empty", lambda x: torch.full_like(torch.empty(x.size(0), 4), 3), f, dynamic={0: {0: "n"}})]
