"""Layers."""
import torch
import torch.nn.functional as F
from make import call, case

x1 = torch.randn(2, 4, 11)
x2 = torch.randn(2, 4, 8, 9)
x3 = torch.randn(1, 4, 5, 6, 7)
small = torch.randn(4, 6)
inf = float("inf")

CASES = []


def add(name, function, *inputs, **options):
    CASES.append(case(name, function, *inputs, **options))


def layer(name, module, *inputs, **options):
    """A module with weights that are no round numbers."""
    for p in [*module.parameters(), *module.buffers()]:
        if p.dtype.is_floating_point:
            p.data = torch.rand(p.shape) * 0.9 + 0.05 if "norm" in type(module).__name__.lower() else torch.randn(p.shape) * 0.3
    add(name, module, *inputs, **options)


nn = torch.nn
layer("conv1d", nn.Conv1d(4, 6, 3), x1)
layer("conv2d", nn.Conv2d(4, 6, 3, padding=1), x2)
layer("conv2d_all", nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False), x2)
layer("conv2d_same", nn.Conv2d(4, 6, (3, 4), padding="same", dilation=2), x2)
layer("conv2d_valid", nn.Conv2d(4, 6, 3, padding="valid"), x2)
layer("conv2d_unbatched", nn.Conv2d(4, 6, 3), x2[0])
layer("conv2d_circular", nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), x2)
layer("conv3d", nn.Conv3d(4, 3, 2, stride=2), x3)
layer("conv_transpose1d", nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), x1)
layer("conv_transpose2d", nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=(1, 0), groups=2), x2)
layer("conv_transpose2d_dilated", nn.ConvTranspose2d(4, 2, 3, dilation=2, bias=False), x2)
layer("conv_transpose3d", nn.ConvTranspose3d(4, 2, 2, stride=2), x3)
for name, arguments in {
    "conv2d_call": ("conv2d", x2, torch.randn(6, 4, 3, 3), None, [1], [1], [1], 1), "conv1d_call": ("conv1d", x1, torch.randn(6, 4, 3), torch.randn(6), [2], [0], [1], 1),
    "conv2d_padding_call": ("conv2d.padding", x2, torch.randn(6, 4, 3, 3), None, [1, 1], "same", [1, 1], 1), "convolution": ("convolution", x2, torch.randn(6, 4, 3, 3), torch.randn(6), [1, 2], [0, 1], [1, 1], False, [0, 0], 1),
    "convolution_transposed": ("convolution", x2, torch.randn(4, 3, 3, 3), None, [2, 2], [0, 1], [1, 1], True, [1, 0], 2), "conv_transpose2d_call": ("conv_transpose2d.input", x2, torch.randn(4, 6, 3, 3), None, [2], [0], [0], 1, [1]),
    "conv3d_call": ("conv3d", x3, torch.randn(2, 4, 2, 2, 2), None, [1, 1, 1], [0, 0, 0], [1, 1, 1], 1), "conv_transpose1d_call": ("conv_transpose1d", x1, torch.randn(4, 6, 3), None, [2], [0], [0], 1, [1]),
    "conv_transpose3d_call": ("conv_transpose3d.input", x3, torch.randn(4, 2, 2, 2, 2), None, [2, 2, 2], [0, 0, 0], [0, 0, 0], 1, [1, 1, 1]), "convolution_mode": ("_convolution_mode", x2, torch.randn(6, 4, 3, 3), None, [1, 1], "same", [1, 1], 1),
    "cudnn": ("_convolution", x2, torch.randn(6, 4, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True, True),
    "native_batch_norm": ("_native_batch_norm_legit_no_training", x2, torch.rand(4), torch.rand(4), torch.rand(4), torch.rand(4) + 0.1, 0.1, 1e-5), "native_layer_norm": ("native_layer_norm", small, [6], torch.randn(6), torch.randn(6), 1e-5),
    "native_dropout": ("native_dropout", small, 0.5, False), "adaptive_avg_pool2d_": ("_adaptive_avg_pool2d", x2, [4, 3]), "max_pool2d_with_indices": ("max_pool2d_with_indices", x2, [2, 2], [2, 2], [1, 0], [1, 1], False),
    "grid_sampler_2d": ("grid_sampler_2d", x2, torch.rand(2, 3, 5, 2) * 2 - 1, 0, 0, False), "grid_sampler_3d": ("grid_sampler_3d", x3, torch.rand(1, 2, 3, 4, 3) * 2 - 1, 0, 1, True),
    "weight_norm_0": ("_weight_norm", torch.randn(3, 4), torch.rand(3, 1), 0), "weight_norm_1": ("_weight_norm", torch.randn(3, 4), torch.rand(1, 4), 1),
    "upsample_nearest2d_call": ("upsample_nearest2d", x2, [12, 10], None, None), "upsample_bilinear2d_call": ("upsample_bilinear2d", x2, [5, 12], False, None, None), "lstm_cell_call": ("lstm_cell", small, [torch.randn(4, 5), torch.randn(4, 5)], torch.randn(20, 6), torch.randn(20, 5), None, None),
    "max_pool1d_with_indices": ("max_pool1d_with_indices", x1, [3], [2], [1], [1], False), "max_pool3d_with_indices": ("max_pool3d_with_indices", x3, [2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], False), "col2im": ("col2im", torch.randn(1, 12, 6), [4, 3], [2, 2], [1, 1], [0, 0], [1, 1]),
    "col2im_padded": ("col2im", torch.randn(2, 8, 9), [4, 4], [2, 2], [1, 1], [1, 1], [2, 2]),
}.items():
    CASES.append(call(name, *arguments))

for name, function, x in [
    ("avg_pool1d", lambda x: F.avg_pool1d(x, 3, 2), x1), ("avg_pool2d", lambda x: F.avg_pool2d(x, 2), x2), ("avg_pool2d_padded", lambda x: F.avg_pool2d(x, 3, 2, 1), x2), ("avg_pool2d_no_pad", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), x2),
    ("avg_pool2d_ceil", lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), x2), ("avg_pool2d_divisor", lambda x: F.avg_pool2d(x, 2, divisor_override=3), x2), ("avg_pool2d_unbatched", lambda x: F.avg_pool2d(x, 2), x2[0]), ("avg_pool3d", lambda x: F.avg_pool3d(x, 2), x3),
    ("max_pool1d", lambda x: F.max_pool1d(x, 3, 2), x1), ("max_pool2d", lambda x: F.max_pool2d(x, 2), x2), ("max_pool2d_all", lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2), x2), ("max_pool2d_ceil", lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), x2),
    ("max_pool2d_places", lambda x: F.max_pool2d(x, 2, return_indices=True), x2), ("max_pool3d", lambda x: F.max_pool3d(x, 2), x3), ("max_pool2d_unbatched", lambda x: F.max_pool2d(x, 2), x2[0]), ("adaptive_avg_pool1d", lambda x: F.adaptive_avg_pool1d(x, 4), x1),
    ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), x2), ("adaptive_avg_pool2d_even", lambda x: F.adaptive_avg_pool2d(x, (4, 3)), x2), ("adaptive_avg_pool2d_uneven", lambda x: F.adaptive_avg_pool2d(x, (3, 5)), x2),
    ("adaptive_avg_pool3d", lambda x: F.adaptive_avg_pool3d(x, (2, 3, 4)), x3), ("adaptive_max_pool1d", lambda x: F.adaptive_max_pool1d(x, 4), x1), ("adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, (4, 3)), x2), ("adaptive_max_pool2d_uneven", lambda x: F.adaptive_max_pool2d(x, (3, 5)), x2),
    ("adaptive_max_pool2d_places", lambda x: F.adaptive_max_pool2d(x, (4, 3), return_indices=True), x2), ("adaptive_max_pool3d", lambda x: F.adaptive_max_pool3d(x, (5, 3, 1)), x3), ("dropout", lambda x: F.dropout(x, 0.5, False) * 2, x2), ("alpha_dropout", lambda x: F.alpha_dropout(x, 0.5, False) * 2, x2),
    ("feature_dropout", lambda x: F.dropout2d(x, 0.5, False) * 2, x2), ("feature_alpha_dropout", lambda x: F.feature_alpha_dropout(x, 0.5, False) * 2, x2), ("local_response_norm", lambda x: F.local_response_norm(x, 3), x2), ("unfold", lambda x: F.unfold(x, (3, 2)), x2),
    ("unfold_all", lambda x: F.unfold(x, 2, dilation=2, padding=1, stride=2), x2), ("fold", lambda x: F.fold(x, (4, 3), (2, 2)), torch.randn(1, 12, 6)), ("interpolate_nearest", lambda x: F.interpolate(x, scale_factor=2), x2), ("interpolate_nearest_size", lambda x: F.interpolate(x, size=(12, 5)), x2),
    ("interpolate_nearest_fraction", lambda x: F.interpolate(x, scale_factor=1.7), x2), ("interpolate_nearest_1d", lambda x: F.interpolate(x, scale_factor=3), x1), ("interpolate_nearest_3d", lambda x: F.interpolate(x, scale_factor=2), x3),
    ("interpolate_exact", lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), x2), ("interpolate_exact_1d", lambda x: F.interpolate(x, size=7, mode="nearest-exact"), x1), ("interpolate_linear", lambda x: F.interpolate(x, scale_factor=2, mode="linear"), x1),
    ("interpolate_bilinear", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), x2), ("interpolate_bilinear_align", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), x2), ("interpolate_bilinear_size", lambda x: F.interpolate(x, size=(5, 13), mode="bilinear"), x2),
    ("interpolate_bilinear_fraction", lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear"), x2), ("interpolate_bicubic", lambda x: F.interpolate(x, size=(12, 13), mode="bicubic"), x2), ("interpolate_bicubic_align", lambda x: F.interpolate(x, size=(12, 13), mode="bicubic", align_corners=True), x2),
    ("interpolate_trilinear", lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), x3), ("interpolate_recompute", lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True), x2),
    ("interpolate_antialias", lambda x: F.interpolate(x, size=(4, 5), mode="bilinear", antialias=True), x2), ("interpolate_bicubic_antialias", lambda x: F.interpolate(x, size=(4, 5), mode="bicubic", antialias=True), x2), ("affine_grid", lambda t: F.affine_grid(t, (2, 3, 4, 5), align_corners=False), torch.randn(2, 2, 3)),
    ("affine_grid_align", lambda t: F.affine_grid(t, (2, 3, 4, 5), align_corners=True), torch.randn(2, 2, 3)), ("layer_norm_plain", lambda x: F.layer_norm(x, (6,)), small), ("layer_norm_two", lambda x: F.layer_norm(x, (8, 9)), x2), ("rms_norm", lambda x: F.rms_norm(x, (6,)), small),
    ("group_norm_plain", lambda x: F.group_norm(x, 2), x2), ("instance_norm_plain", lambda x: F.instance_norm(x), x2), ("layer_norm_half", lambda x: F.layer_norm(x, (6,)), small.half()),
    ("batch_norm_own", lambda x: F.batch_norm(x, None, None, training=True), x2),
]:
    add(name, function, x)
grid = torch.rand(2, 3, 5, 2) * 2.4 - 1.2
for mode in ("bilinear", "nearest", "bicubic"):
    for padding in ("zeros", "border", "reflection"):
        add(f"grid_sample_{mode}_{padding}", lambda x, g, m=mode, p=padding: F.grid_sample(x, g, mode=m, padding_mode=p, align_corners=False), x2, grid)
add("grid_sample_align", lambda x, g: F.grid_sample(x, g, align_corners=True), x2, grid)
layer("batch_norm", nn.BatchNorm2d(4), x2)
add("rms_norm_eps", lambda x, w: F.rms_norm(x, (6,), w, 1e-3), small, torch.rand(6) + 0.5)
layer("batch_norm_1d", nn.BatchNorm1d(4), torch.randn(3, 4))
layer("batch_norm_plain", nn.BatchNorm2d(4, affine=False), x2)
layer("batch_norm_untracked", nn.BatchNorm2d(4, track_running_stats=False), x2)
layer("instance_norm", nn.InstanceNorm2d(4, affine=True), x2)
layer("instance_norm_tracked", nn.InstanceNorm2d(4, affine=True, track_running_stats=True), x2)
layer("group_norm", nn.GroupNorm(2, 4), x2)
layer("group_norm_2d", nn.GroupNorm(2, 6), small)
layer("layer_norm", nn.LayerNorm(6), small)
layer("layer_norm_shape", nn.LayerNorm((8, 9), eps=1e-3), x2)
layer("lstm", nn.LSTM(6, 5), torch.randn(3, 2, 6))
layer("lstm_all", nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True), torch.randn(3, 2, 6))
layer("lstm_no_bias", nn.LSTM(6, 5, bias=False), torch.randn(3, 2, 6))
layer("lstm_unbatched", nn.LSTM(6, 5), torch.randn(3, 6))
layer("gru", nn.GRU(6, 5), torch.randn(3, 2, 6))
layer("gru_all", nn.GRU(6, 5, num_layers=2, bidirectional=True, batch_first=True), torch.randn(3, 2, 6))
layer("rnn", nn.RNN(6, 5), torch.randn(3, 2, 6))
layer("rnn_relu", nn.RNN(6, 5, nonlinearity="relu", bidirectional=True), torch.randn(3, 2, 6))
layer("lstm_cell", nn.LSTMCell(6, 5), small)
layer("gru_cell", nn.GRUCell(6, 5), small)
layer("rnn_cell", nn.RNNCell(6, 5), small)
layer("rnn_relu_cell", nn.RNNCell(6, 5, nonlinearity="relu"), small)
add("lstm_states", lambda x, h, c, m=nn.LSTM(6, 5, num_layers=2).requires_grad_(False): m(x, (h, c))[0], torch.randn(3, 2, 6), torch.randn(2, 2, 5), torch.randn(2, 2, 5))
q, k, v = torch.randn(2, 3, 4, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
for name, function, xs in [
    ("attention", F.scaled_dot_product_attention, (q, k, v)), ("attention_mask", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), (q, k, v, torch.randn(4, 6))),
    ("attention_bool", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), (q, k, v, torch.tensor([[True, False, True, True, False, True]] * 4))), ("attention_causal", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), (k, k, v)),
    ("attention_scale", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.7), (q, k, v)), ("attention_3d", F.scaled_dot_product_attention, (q[0], k[0], v[0])), ("attention_mask_4d", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), (q, k, v, torch.randn(2, 1, 4, 6))),
    ("multi_head", nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(False).eval().forward, (torch.randn(2, 4, 8), torch.randn(2, 6, 8), torch.randn(2, 6, 8))),
]:
    add(name, (lambda *a, f=function: f(*a)[0]) if name == "multi_head" else function, *xs)
n = {0: {0: "n"}}
layer("dynamic_conv2d", nn.Conv2d(4, 6, 3, padding=1), x2, dynamic={0: {0: "n", 2: "h", 3: "w"}})
layer("dynamic_lstm", nn.LSTM(6, 5, batch_first=True), torch.randn(3, 2, 6), dynamic=n)
add("dynamic_interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), x2, dynamic={0: {0: "n", 2: "h", 3: "w"}})
add("dynamic_interpolate_like", lambda x, y: F.interpolate(x, size=y.shape[2:]), x2, torch.randn(2, 4, 16, 18), dynamic={1: {2: "h", 3: "w"}})
add("dynamic_pool", lambda x: F.adaptive_avg_pool2d(x, 1), x2, dynamic={0: {0: "n", 2: "h", 3: "w"}})
add("dynamic_attention", F.scaled_dot_product_attention, q, k, v, dynamic={0: {0: "n"}, 1: {0: "n"}, 2: {0: "n"}})
