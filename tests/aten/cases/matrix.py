"""Matrices."""
import torch
import torch.nn.functional as F
from make import case

f = torch.randn(2, 3, 4)
g = torch.randn(2, 4, 5)
m = torch.randn(3, 4)
n = torch.randn(4, 5)
s = torch.randn(3, 3) + 2 * torch.eye(3)
v = torch.randn(4)
w = torch.randn(3)
i = torch.randint(-4, 5, (3, 4))
h = m.half()

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


for name, function, xs in [
    ("mm", torch.mm, (m, n)), ("mm_int", torch.mm, (i, i.T.contiguous())), ("mm_half", torch.mm, (h, n.half())), ("bmm", torch.bmm, (f, g)), ("mv", torch.mv, (m, v)), ("dot", torch.dot, (v, v * 2)), ("vdot", torch.vdot, (v, v)),
    ("matmul", torch.matmul, (f, g)), ("matmul_broadcast", torch.matmul, (f, n)), ("matmul_rows", torch.matmul, (v, n)), ("matmul_column", torch.matmul, (f, v)), ("matmul_dot", torch.matmul, (v, v)), ("outer", torch.outer, (w, v)), ("ger", torch.ger, (w, v)),
    ("linear", F.linear, (m, n.T.contiguous())), ("linear_bias", F.linear, (m, n.T.contiguous(), torch.randn(5))), ("linear_3d", F.linear, (f, n.T.contiguous(), torch.randn(5))), ("linear_1d", F.linear, (v, n.T.contiguous())),
    ("linear_half", F.linear, (h, n.T.half().contiguous(), torch.randn(5).half())), ("addmm", torch.addmm, (torch.randn(3, 5), m, n)), ("addmm_row", torch.addmm, (torch.randn(5), m, n)),
    ("addmm_scaled", lambda a, b, c: torch.addmm(a, b, c, beta=0.5, alpha=2), (torch.randn(3, 5), m, n)), ("addmm_beta_0", lambda a, b, c: torch.addmm(a, b, c, beta=0), (torch.full((3, 5), float("nan")), m, n)),
    ("addmm_int", lambda a, b, c: torch.addmm(a, b, c, alpha=2), (i, torch.randint(0, 3, (3, 3)), i)), ("addmv", torch.addmv, (w, m, v)), ("addmv_scaled", lambda a, b, c: torch.addmv(a, b, c, beta=2, alpha=-1), (w, m, v)),
    ("addr", torch.addr, (m, w, v)), ("addbmm", torch.addbmm, (torch.randn(3, 5), f, g)), ("addbmm_scaled", lambda a, b, c: torch.addbmm(a, b, c, beta=0.5, alpha=3), (torch.randn(3, 5), f, g)), ("baddbmm", torch.baddbmm, (torch.randn(2, 3, 5), f, g)),
    ("baddbmm_scaled", lambda a, b, c: torch.baddbmm(a, b, c, beta=0.5, alpha=3), (torch.randn(5), f, g)), ("einsum", lambda a, b: torch.einsum("bij,bjk->bik", a, b), (f, g)), ("einsum_dots", lambda a, b: torch.einsum("...i,ij->...j", a, b), (f, n)),
    ("einsum_sum", lambda a: torch.einsum("bij->j", a), (f,)), ("einsum_implicit", lambda a, b: torch.einsum("ij,jk", a, b), (m, n)), ("tensordot", lambda a, b: torch.tensordot(a, b, dims=([2], [0])), (f, n)),
    ("tensordot_two", lambda a, b: torch.tensordot(a, b, dims=([0, 2], [0, 1])), (f, g)), ("tensordot_number", lambda a, b: torch.tensordot(a, b, dims=1), (m, n)), ("inner", torch.inner, (m, m * 2)), ("inner_row", torch.inner, (f, v)),
    ("bilinear", F.bilinear, (m, torch.randn(3, 5), torch.randn(2, 4, 5), torch.randn(2))), ("chain_matmul", lambda a, b, c: torch.chain_matmul(a, b, c), (m, n, torch.randn(5, 2))), ("multi_dot", lambda a, b, c: torch.linalg.multi_dot((a, b, c)), (m, n, torch.randn(5, 2))),
    ("matrix_power", lambda a: torch.matrix_power(a, 3), (s,)), ("matrix_power_5", lambda a: torch.linalg.matrix_power(a, 5), (s,)), ("kron", torch.kron, (m, torch.randn(2, 2))), ("kron_row", torch.kron, (w, m)), ("cross", lambda a, b: torch.cross(a, b, dim=0), (m, m * m)),
    ("cross_found", lambda a, b: torch.cross(a, b), (torch.randn(2, 3), torch.randn(2, 3))), ("linalg_cross", torch.linalg.cross, (torch.randn(4, 3), torch.randn(4, 3))), ("cdist", torch.cdist, (f, f[:, :2] * 2)), ("cdist_1", lambda a, b: torch.cdist(a, b, p=1.0), (f, f * 2)),
    ("cdist_3", lambda a, b: torch.cdist(a, b, p=3.0), (f, f * 2)), ("cdist_inf", lambda a, b: torch.cdist(a, b, p=float("inf")), (f, f * 2)), ("det", torch.det, (s,)), ("det_batch", torch.linalg.det, (torch.stack((s, s * 2)),)), ("logdet", torch.logdet, (s @ s.T + torch.eye(3),)),
    ("slogdet", lambda a: tuple(torch.linalg.slogdet(a)), (s,)), ("inverse", torch.inverse, (s,)), ("inverse_2", torch.linalg.inv, (torch.tensor([[2.0, 1.0], [1.0, 3.0]]),)), ("inverse_1", torch.inverse, (torch.tensor([[4.0]]),)), ("inverse_batch", torch.linalg.inv, (torch.stack((s, s.T * 2)),)),
    ("diagonal", torch.diagonal, (m,)), ("diagonal_offset", lambda a: torch.diagonal(a, 1), (m,)), ("diagonal_below", lambda a: torch.diagonal(a, -1, 1, 2), (f,)), ("diagonal_dims", lambda a: torch.diagonal(a, 0, 0, 2), (f,)), ("diagonal_turned", lambda a: torch.diagonal(a, 1, 2, 0), (f,)),
    ("trace", torch.trace, (m,)), ("trace_int", torch.trace, (i,)), ("diag", torch.diag, (m,)), ("diag_row", torch.diag, (v,)), ("diag_offset", lambda a: torch.diag(a, 1), (m,)), ("diag_row_offset", lambda a: torch.diag(a, -2), (v,)), ("diag_int", lambda a: torch.diag(a[0]), (i,)),
    ("diagflat", torch.diagflat, (m,)), ("diag_embed", torch.diag_embed, (m,)), ("diag_embed_offset", lambda a: torch.diag_embed(a, 1), (m,)), ("diag_embed_dims", lambda a: torch.diag_embed(a, 0, 0, 2), (m,)), ("tril", torch.tril, (f,)), ("tril_below", lambda a: torch.tril(a, -1), (m,)),
    ("triu", torch.triu, (f,)), ("triu_above", lambda a: torch.triu(a, 1), (m,)), ("triu_int", torch.triu, (i,)), ("tril_bool", lambda a: torch.tril(a > 0), (m,)), ("numpy_T", lambda a: m.T @ a, (m,)),
    ("tril_indices", lambda a: a + torch.tril_indices(3, 4).sum(), (m,)), ("triu_indices", lambda a: a + torch.triu_indices(3, 4, 1).sum(), (m,)),
]:
    add(name, function, *xs)
for name, function, xs in [("matmul", torch.matmul, (f, n)), ("linear", F.linear, (m, n.T.contiguous())), ("diag_embed", torch.diag_embed, (m,)), ("tril", torch.tril, (f,)), ("cdist", torch.cdist, (f, f * 2)), ("addmm", lambda a: torch.addmm(torch.ones(5), a, n), (m,)),
                           ("bmm", torch.bmm, (f, g))]:
    add(f"dynamic_{name}", function, *xs, dynamic={k: {0: "n"} for k in range(len(xs)) if xs[k].dim() == xs[0].dim() and not (name == "linear" and k)})
