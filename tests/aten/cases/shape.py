"""Making, shaping, cutting and joining."""
import torch
import torch.nn.functional as F
from make import case

f = torch.randn(2, 3, 4)
g = torch.randn(2, 3, 4)
m = torch.randn(3, 4)
v = torch.randn(5)
i = torch.arange(24).reshape(2, 3, 4)
b = i % 3 == 0
image = torch.randn(1, 8, 4, 6)
scalar = torch.tensor(2.5)
wide = torch.randn(2, 1, 3, 1)

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


for name, function, x in [
    ("view", lambda x: x.view(6, 4), f), ("view_open", lambda x: x.view(-1, 2), f), ("view_type", lambda x: x.view(2, -1) + 1, i), ("reshape", lambda x: torch.reshape(x, (4, 6)), f),
    ("reshape_scalar", lambda x: x.reshape(()), v[:1]), ("flatten", lambda x: torch.flatten(x), f), ("flatten_from", lambda x: torch.flatten(x, 1), f), ("flatten_to", lambda x: torch.flatten(x, 0, 1), f),
    ("flatten_same", lambda x: torch.flatten(x, 1, 1) * 2, f), ("flatten_scalar", lambda x: torch.flatten(x), scalar), ("ravel", torch.ravel, f), ("unflatten", lambda x: torch.unflatten(x, 2, (2, 2)), f),
    ("unflatten_open", lambda x: x.unflatten(1, (-1, 3)), f), ("squeeze", torch.squeeze, wide), ("squeeze_dim", lambda x: torch.squeeze(x, 1), wide), ("squeeze_not", lambda x: torch.squeeze(x, 0) * 1.5, wide),
    ("squeeze_dims", lambda x: torch.squeeze(x, (1, -1)), wide), ("unsqueeze", lambda x: torch.unsqueeze(x, 1), f), ("unsqueeze_last", lambda x: torch.unsqueeze(x, -1), f),
    ("atleast_1d", torch.atleast_1d, scalar), ("atleast_2d", torch.atleast_2d, v), ("atleast_3d", torch.atleast_3d, m), ("atleast_3d_row", torch.atleast_3d, v), ("atleast_2d_scalar", torch.atleast_2d, scalar),
    ("permute", lambda x: x.permute(2, 0, 1), f), ("permute_negative", lambda x: x.permute(-1, 0, -2), f), ("transpose", lambda x: x.transpose(0, 2), f), ("transpose_negative", lambda x: x.transpose(-1, -2), f),
    ("swapaxes", lambda x: torch.swapaxes(x, 0, 1), f), ("swapdims", lambda x: torch.swapdims(x, 0, 1), f), ("t", torch.t, m), ("t_row", lambda x: torch.t(x) + 1, v), ("numpy_T", lambda x: m.T @ x, m),
    ("mT", lambda x: x.mT, f), ("adjoint", lambda x: x.adjoint(), f), ("movedim", lambda x: torch.movedim(x, 0, 2), f), ("movedim_lists", lambda x: torch.movedim(x, (0, 1), (2, 0)), f),
    ("moveaxis", lambda x: torch.moveaxis(x, -1, 0), f), ("flip", lambda x: torch.flip(x, (0, -1)), f), ("fliplr", torch.fliplr, m), ("flipud", torch.flipud, m), ("rot90", lambda x: torch.rot90(x, 1, (0, 1)), m),
    ("rot90_2", lambda x: torch.rot90(x, 2, (0, 1)), m), ("rot90_3", lambda x: torch.rot90(x, 3, (1, 2)), f), ("rot90_back", lambda x: torch.rot90(x, -1, (0, 1)), m), ("roll", lambda x: torch.roll(x, 2), f),
    ("roll_dims", lambda x: torch.roll(x, (1, -2), (0, 2)), f), ("roll_far", lambda x: torch.roll(x, 9, 1), f), ("expand", lambda x: x.expand(4, 5), torch.randn(4, 1)), ("expand_open", lambda x: x.expand(2, -1, 3), torch.randn(2, 4, 1)),
    ("expand_front", lambda x: x.expand(2, 3, 5), v), ("broadcast_to", lambda x: torch.broadcast_to(x, (3, 5)), v), ("repeat", lambda x: x.repeat(2, 1, 3), f), ("repeat_front", lambda x: x.repeat(2, 2), v),
    ("tile", lambda x: torch.tile(x, (2,)), f), ("tile_more", lambda x: torch.tile(x, (2, 1, 1, 3)), f), ("repeat_interleave", lambda x: torch.repeat_interleave(x, 2), m), ("repeat_interleave_dim", lambda x: torch.repeat_interleave(x, 3, dim=1), f),
    ("repeat_interleave_list", lambda x: torch.repeat_interleave(x, torch.tensor([1, 0, 2]), dim=1), f), ("slice", lambda x: x[:, 1:3], f), ("slice_step", lambda x: x[..., ::2], f), ("slice_negative", lambda x: x[:, -2:], f),
    ("slice_far", lambda x: x[:, 1:100] * 2, f), ("narrow", lambda x: torch.narrow(x, 1, 1, 2), f), ("narrow_end", lambda x: torch.narrow(x, 2, -2, 2), f), ("select", lambda x: torch.select(x, 1, 2), f),
    ("select_negative", lambda x: x[:, -1], f), ("select_bool", lambda x: x[0], b), ("chunk", lambda x: [c.exp() for c in torch.chunk(x, 2, 1)], f), ("chunk_uneven", lambda x: [c.exp() for c in torch.chunk(x, 3)], v), ("split", lambda x: torch.split(x, 2, dim=1), f),
    ("split_sizes", lambda x: torch.split(x, [1, 3], dim=2), f), ("tensor_split", lambda x: torch.tensor_split(x, 3), v), ("tensor_split_at", lambda x: torch.tensor_split(x, (1, 3)), v), ("hsplit", lambda x: torch.hsplit(x, 2), m),
    ("vsplit", lambda x: torch.vsplit(x, 3), m), ("dsplit", lambda x: torch.dsplit(x, 2), f), ("unbind", lambda x: torch.unbind(x), f), ("unbind_dim", lambda x: torch.unbind(x, -1), m), ("unfold", lambda x: x.unfold(1, 2, 1), f),
    ("unfold_step", lambda x: x.unfold(-1, 3, 2), torch.randn(2, 7)), ("as_strided", lambda x: torch.as_strided(x * 1, (2, 2), (1, 4), 3), f), ("diff", torch.diff, f), ("diff_twice", lambda x: torch.diff(x, n=2, dim=1), f),
    ("diff_bool", torch.diff, b), ("diff_int", lambda x: torch.diff(x, dim=0), i), ("pad", lambda x: F.pad(x, (1, 2)), f), ("pad_two", lambda x: F.pad(x, (1, 0, 2, 1), value=3.5), f), ("pad_cut", lambda x: F.pad(x, (-1, 1)), f),
    ("pad_int", lambda x: F.pad(x, (1, 1), value=7), i), ("pad_bool", lambda x: F.pad(x, (1, 1), value=True), b), ("pad_reflect", lambda x: F.pad(x, (1, 2), mode="reflect"), f), ("pad_reflect_2d", lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), image),
    ("pad_replicate", lambda x: F.pad(x, (3, 1), mode="replicate"), f), ("pad_replicate_2d", lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"), image), ("pad_circular", lambda x: F.pad(x, (1, 2), mode="circular"), f),
    ("pad_replicate_3d", lambda x: F.pad(x, (1, 0, 0, 1, 1, 1), mode="replicate"), image), ("pad_reflect_3d", lambda x: F.pad(x, (1, 0, 0, 1, 1, 1), mode="reflect"), image), ("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), image),
    ("pixel_shuffle_5d", lambda x: F.pixel_shuffle(x, 2), torch.randn(2, 3, 4, 2, 2)), ("pixel_shuffle_3d", lambda x: F.pixel_shuffle(x, 2), torch.randn(4, 2, 3)), ("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), image),
    ("channel_shuffle", lambda x: torch.channel_shuffle(x, 4), image), ("size", lambda x: torch.zeros(x.size(0), x.shape[2]) + x[:, 0], f), ("select_scatter", lambda x: torch.select_scatter(x, x[:, 0] * 2, 1, 2), f),
    ("slice_scatter", lambda x: torch.slice_scatter(x, x[:, :2] * 2, 1, 1, 3), f), ("arange_like", lambda x: x + torch.arange(4), f), ("arange_step", lambda x: x + torch.arange(0, 2, 0.5), f), ("arange_type", lambda x: x + torch.arange(4, dtype=torch.float32), f),
    ("full_added", lambda x: x + torch.full((4,), 2.5), f), ("new_full", lambda x: x.new_full((2, 2), 3), f), ("new_zeros", lambda x: x.new_zeros((2, 2)), i), ("new_ones", lambda x: x.new_ones(3), f), ("eye", lambda x: x + torch.eye(3, 4), f),
    ("linspace", lambda x: x + torch.linspace(-1, 2, 4), f), ("logspace", lambda x: x + torch.logspace(0, 1, 4), f), ("view_as", lambda x: x.view_as(torch.zeros(6, 4)), f), ("expand_as", lambda x: x.expand_as(torch.zeros(3, 5)), v),
    ("meshgrid", lambda x: torch.meshgrid(x, x * 2, indexing="ij"), v), ("meshgrid_xy", lambda x: torch.meshgrid(x, x[:3], indexing="xy"), v), ("item", lambda x: x.sum().reshape(1) * 1.0, f), ("numel", lambda x: x / x.numel(), f),
    ("tile_int", lambda x: torch.tile(x, (1, 2)), i), ("ones_added", lambda x: x + torch.ones(4), f), ("normalize", lambda x: F.normalize(x, dim=1), f),
]:
    add(name, function, x)
for name, function, xs in [
    ("cat", lambda x, y: torch.cat((x, y), 1), (f, g)), ("cat_negative", lambda x, y: torch.cat((x, y), -1), (f, g)), ("cat_empty", lambda x, y: torch.cat((torch.zeros(0), x, y), 1), (f, g)),
    ("concat", lambda x, y: torch.concat((x, y)), (f, g)), ("stack", lambda x, y: torch.stack((x, y)), (f, g)), ("stack_last", lambda x, y: torch.stack((x, y), -1), (f, g)), ("hstack", lambda x, y: torch.hstack((x, y)), (f, g)),
    ("hstack_rows", lambda x, y: torch.hstack((x, y)), (v, v * 2)), ("vstack", lambda x, y: torch.vstack((x, y)), (v, v * 2)), ("dstack", lambda x, y: torch.dstack((x, y)), (m, m * 2)), ("column_stack", lambda x, y: torch.column_stack((x, y)), (v, v * 2)),
    ("diff_around", lambda x, y: torch.diff(x, prepend=y[..., :1], append=y), (f, g)), ("reshape_as", lambda x, y: x.reshape_as(y), (f, torch.zeros(4, 6))), ("cat_bools", lambda x, y: torch.cat((x, y)), (b, b)),
]:
    add(name, function, *xs)
open_dims = {0: {0: "n", 1: "m"}}
for name, function in {
    "flatten": lambda x: torch.flatten(x, 1), "flatten_first": lambda x: torch.flatten(x, 0, 1), "view": lambda x: x.view(x.size(0), -1), "expand": lambda x: x[:, :1].expand(-1, 5, -1), "slice": lambda x: x[:, 1:],
    "repeat": lambda x: x.repeat(1, 2, 1), "size": lambda x: x.reshape(x.size(0) * x.size(1), 4), "arange": lambda x: x + torch.arange(x.size(1)).unsqueeze(-1), "zeros": lambda x: torch.zeros(x.size(0), 3) + x[:, 0, :3],
    "repeat_interleave": lambda x: torch.repeat_interleave(x, 2, dim=1), "select": lambda x: x[:, -1], "narrow_half": lambda x: x[:, : x.size(1) // 2], "unflatten": lambda x: x.unflatten(2, (2, 2)), "flip": lambda x: x.flip(1),
}.items():
    add(f"dynamic_{name}", function, f, dynamic=open_dims)
add("dynamic_cat", lambda x, y: torch.cat((x, y), 1), f, g, dynamic={0: {1: "m"}, 1: {1: "k"}})
