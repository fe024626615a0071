"""Holds gopt's evaluation of ONNX Runtime's own operators against ONNX Runtime.

Each case is a model of one node with seeded inputs. ONNX Runtime, with its optimizations off, gives the expected
outputs; `gopt conformance` then runs the model as it is (level 0) and optimized (level 2). What `gopt optimize --emit
onnx` makes of it must be ONNX's own operators alone, and ONNX Runtime must answer the same on it.

    contrib.py GOPT [--keep DIR] [REGEX]

Runs in the interpreter that GOPT_PEERS_PYTHON names, where there is one. Exits with 77 (skipped) where onnx or
onnxruntime are missing."""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

peers.need()
import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

MS = "com.microsoft"
CASES = []
# What has no expansion in plain ONNX of this opset, as regular expressions.
STAYS = ("matmul_2_bits", "_float$", "groups$", "group_query", "linear_attention", "gated_delta", "causal_conv", "bnb4",
         "inverse", "cdist", "gather_blocks", "moe")


def f32(*shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed + 17 * len(shape) + sum(shape)).standard_normal(shape) * scale).astype(np.float32)


def case(name, op, inputs, outputs=("y",), domain=MS, constants=(), **attributes):
    """inputs: arrays, or None for an absent one. constants: positions of those that are initializers."""
    CASES.append((name, op, list(inputs), list(outputs), domain, set(constants), attributes))


def pointwise():
    x = f32(2, 3, 8)
    case("gelu", "Gelu", [x])
    case("fast_gelu", "FastGelu", [x])
    case("fast_gelu_bias", "FastGelu", [x, f32(8)])
    case("bias_gelu", "BiasGelu", [x, f32(8)])
    case("quick_gelu", "QuickGelu", [x])
    case("quick_gelu_alpha", "QuickGelu", [x], alpha=1.0)


def products():
    x, w, b = f32(1, 4, 7, 7), f32(6, 4, 3, 3, scale=0.3), f32(6)
    z = f32(1, 6, 7, 7, seed=5)
    case("fused_conv", "FusedConv", [x, w, b], pads=[1] * 4)
    for activation, parameters in (("Relu", None), ("Tanh", None), ("Sigmoid", None), ("LeakyRelu", [0.1]),
                                   ("Clip", [-0.5, 0.75]), ("HardSigmoid", [0.3, 0.4])):
        more = {"activation_params": parameters} if parameters else {}
        case(f"fused_conv_{activation.lower()}", "FusedConv", [x, w, b], pads=[1] * 4, activation=activation, **more)
    case("fused_conv_sum", "FusedConv", [x, w, b, z], pads=[1] * 4, activation="Relu")
    case("fused_conv_sum_no_bias", "FusedConv", [x, w, None, z], pads=[1] * 4, activation="Relu")
    case("fused_conv_strides_groups", "FusedConv", [f32(2, 4, 9, 8), f32(6, 2, 3, 3), b], strides=[2, 1], group=2,
         dilations=[1, 2], pads=[0, 1, 2, 1], activation="Relu")
    case("fused_conv_hardswish", "FusedConv", [x, w, b], pads=[1] * 4, activation="HardSwish")
    case("fused_conv_auto_pad", "FusedConv", [f32(2, 4, 9, 8), f32(6, 4, 3, 3), b], strides=[2, 1],
         activation="Relu", auto_pad="SAME_UPPER")
    case("fused_conv_1d", "FusedConv", [f32(2, 4, 9), f32(6, 4, 3), b], activation="Relu")
    a, c = f32(3, 4), f32(4, 5)
    case("fused_gemm", "FusedGemm", [a, c, f32(5)], alpha=0.5, beta=2.0, activation="Relu")
    case("fused_gemm_transposed", "FusedGemm", [f32(4, 3), f32(5, 4), f32(3, 1)], transA=1, transB=1,
         activation="LeakyRelu", activation_alpha=0.2)
    case("fused_gemm_no_c", "FusedGemm", [a, c], activation="Tanh")
    for activation, parameters in (("Sigmoid", {}), ("Softplus", {}), ("Softsign", {}), ("Elu", {"alpha": 0.7}),
                                   ("ThresholdedRelu", {"alpha": 0.3}), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
                                   ("Selu", {"alpha": 1.5, "gamma": 0.9})):
        case(f"fused_gemm_{activation.lower()}", "FusedGemm", [a, c, f32(5)], activation=activation,
             **{f"activation_{k}": v for k, v in parameters.items()})
    case("fused_matmul", "FusedMatMul", [f32(2, 3, 4), f32(2, 4, 5)], alpha=0.25)
    case("fused_matmul_a", "FusedMatMul", [f32(2, 4, 3), f32(2, 4, 5)], transA=1)
    case("fused_matmul_b", "FusedMatMul", [f32(2, 3, 4), f32(2, 5, 4)], transB=1, alpha=-2.0)
    case("fused_matmul_broadcast", "FusedMatMul", [f32(3, 1, 4, 2), f32(2, 5, 4)], transA=1, transB=1)
    case("fused_matmul_vector", "FusedMatMul", [f32(4), f32(2, 5, 4)], transA=1, transB=1)
    case("fused_matmul_batch_a", "FusedMatMul", [f32(3, 2, 4), f32(2, 4, 5)], transBatchA=1)
    case("fused_matmul_batch_a_turned", "FusedMatMul", [f32(4, 2, 3), f32(2, 4, 5)], transBatchA=1, transA=1)
    case("fused_matmul_batch_both", "FusedMatMul", [f32(3, 2, 6, 4), f32(5, 2, 6, 4)], transBatchA=1, transBatchB=1,
         transB=1)


def normalizations():
    x, s, g, b = f32(2, 5, 8), f32(2, 5, 8, seed=1), f32(8), f32(8, seed=3)
    all_four = ("y", "", "", "sum")
    for op, betas in (("SkipLayerNormalization", ([], [b], [None], [b, f32(8, seed=4)], [None, f32(8, seed=4)])),
                      ("SkipSimplifiedLayerNormalization", ([], [b]))):
        for i, beta in enumerate(betas):
            case(f"{op.lower()}_{i}", op, [x, s, g, *beta])
            case(f"{op.lower()}_{i}_sum", op, [x, s, g, *beta], all_four, epsilon=1e-5)
        case(f"{op.lower()}_skip_rank_2", op, [x, f32(5, 8), g])
        case(f"{op.lower()}_skip_batch_1", op, [x, f32(1, 5, 8), g])
        case(f"{op.lower()}_rank_2", op, [f32(5, 8), f32(5, 8, seed=1), g])
    case("simplified_layer_norm", "SimplifiedLayerNormalization", [x, g], domain="")
    case("simplified_layer_norm_inverse", "SimplifiedLayerNormalization", [x, g], ("y", "inverse"), domain="",
         epsilon=1e-3)
    rng = np.random.default_rng(3)
    ids, kinds = rng.integers(0, 11, (2, 5), np.int32), rng.integers(0, 2, (2, 5), np.int32)
    tables = [f32(11, 8), f32(9, 8), f32(2, 8)]
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    case("embed_layer_norm", "EmbedLayerNormalization", [ids, kinds, *tables, g, b], ("y", "mask_index"))
    case("embed_layer_norm_mask", "EmbedLayerNormalization", [ids, kinds, *tables, g, b, mask], ("y", "mask_index"))
    case("embed_layer_norm_no_segments", "EmbedLayerNormalization", [ids, None, *tables[:2], None, g, b],
         ("y", "mask_index"))
    case("embed_layer_norm_positions", "EmbedLayerNormalization",
         [ids, kinds, *tables, g, b, None, np.array([[4, 3, 2, 1, 0]], np.int32)], ("y", "mask_index", "sum"))


def multi_head():
    q, k, v = f32(2, 3, 8), f32(2, 4, 8), f32(2, 4, 8, seed=1)
    past = [f32(2, 2, 5, 4), f32(2, 2, 5, 4, seed=1)]
    everything = ("y", "present_key", "present_value", "qk")
    rng = np.random.default_rng(9)
    ints = lambda *shape: rng.integers(0, 2, shape, np.int32)

    def one(name, inputs, outputs=("y",), **attributes):
        case(f"multi_head_{name}", "MultiHeadAttention", inputs, outputs, num_heads=2, **attributes)

    one("plain", [q, k, v])
    one("all_outputs", [q, k, v], everything)
    one("scale", [q, k, v], scale=0.3)
    one("bias", [q, k, v, f32(24)], everything)
    one("value_size", [q, k, f32(2, 4, 12), f32(28)], ("y", "present_key", "present_value"))
    one("lengths", [q, k, v, None, np.array([2, 4], np.int32)], everything)
    one("lengths_of_three", [q, k, v, None, np.array([2, 4, 0, 3, 6, 0, 4, 8], np.int32)])
    one("mask_keys", [q, k, v, None, ints(2, 4)], everything)
    one("mask_all", [q, k, v, None, ints(2, 3, 4)], everything)
    one("mask_filter", [q, k, v, None, ints(2, 4)], mask_filter_value=-3.0)
    one("causal", [q, k, v], everything, unidirectional=1)
    one("causal_one_query", [q[:, :1], k, v], unidirectional=1)
    one("causal_mask", [q, k, v, None, ints(2, 4)], unidirectional=1)
    for batch in (1, 2):
        for heads in (1, 2):
            one(f"attention_bias_{batch}_{heads}", [q, k, v, None, None, f32(batch, heads, 3, 4)], everything)
    one("attention_bias_mask", [q, k, v, None, ints(2, 4), f32(1, 2, 3, 4)])
    one("past", [q, k, v, None, None, None, *past], everything)
    one("past_bias_mask", [q, k, v, f32(24), ints(2, 9), f32(1, 1, 3, 9), *past], everything)
    one("past_causal", [q, k, v, None, None, None, *past], everything, unidirectional=1)
    one("cached_keys", [q, f32(2, 2, 4, 4), f32(2, 2, 4, 4, seed=1)])
    one("cached_keys_bias", [q, f32(2, 2, 4, 4), f32(2, 2, 4, 4, seed=1), f32(24)])


def projected():
    x, w, b = f32(2, 3, 5), f32(5, 24), f32(24)
    past = f32(2, 2, 2, 4, 4)
    rng = np.random.default_rng(5)
    ints = lambda *shape: rng.integers(0, 2, shape, np.int32)

    def one(name, inputs, outputs=("y",), **attributes):
        case(f"attention_{name}", "Attention", inputs, outputs, num_heads=2, **attributes)

    one("plain", [x, w, b])
    one("present", [x, w, b], ("y", "present"))
    one("constants", [x, w, b], constants=(1, 2))
    one("sizes", [x, f32(5, 28), f32(28)], qkv_hidden_sizes=[8, 8, 12])
    one("lengths", [x, w, b, np.array([2, 3], np.int32)])
    one("ends_and_starts", [x, w, b, np.array([2, 3, 1, 0], np.int32)])
    one("lengths_of_three", [x, w, b, np.array([2, 3, 0, 3, 6, 0, 3, 6], np.int32)])
    one("mask_keys", [x, w, b, np.array([[1, 0, 1], [0, 1, 1]], np.int32)])
    one("mask_dummy", [x, w, b, ints(2, 1)])
    one("mask_all", [x, w, b, np.array([[[1, 1, 0], [0, 1, 1], [1, 0, 0]]] * 2, np.int32)])
    one("causal", [x, w, b], unidirectional=1)
    one("causal_past", [x, w, b, None, past], ("y", "present"), unidirectional=1)
    one("bias", [x, w, b, None, None, f32(1, 2, 3, 3)], scale=0.3)
    one("past_mask", [x, w, b, ints(2, 7), past], ("y", "present"))


def rotary():
    x, c, s = f32(2, 3, 8), f32(9, 2), f32(9, 2, seed=1)
    places = np.random.default_rng(2).integers(0, 9, (2, 3), np.int64)

    def one(name, inputs, **attributes):
        case(f"rotary_{name}", "RotaryEmbedding", inputs, **attributes)

    one("begin", [x, np.array([3], np.int64), c, s])
    one("positions", [x, places, c, s])
    one("interleaved", [x, places, c, s], interleaved=1)
    one("heads", [x, places, c, s], num_heads=2)
    one("part", [f32(2, 3, 12), places, c, s], num_heads=2, rotary_embedding_dim=4)
    one("rank_4", [f32(2, 2, 3, 4), places, c, s])


def quantized():
    for dtype in (np.uint8, np.int8):
        least, name = np.iinfo(dtype).min, np.dtype(dtype).name
        rng = np.random.default_rng(7)
        some = lambda *shape: rng.integers(least, least + 256, shape, dtype)
        scaled = lambda scale, zero: [np.array(scale, np.float32), np.array(zero, dtype)]
        a, b, c = scaled(0.0317, 3), scaled(0.0173, 100), scaled(0.0541, 20)

        def one(what, op, inputs, **attributes):
            case(f"qlinear_{what}_{name}", op, inputs, **attributes)

        for op in ("Add", "Mul"):
            one(op.lower(), f"QLinear{op}", [some(4, 1, 64), *a, some(5, 64), *b, *c])
        one("add_constant", "QLinearAdd", [some(4, 64), *a, some(64), *b, *c], constants=(1, 2, 3, 4, 5, 6, 7))
        every = np.arange(least, least + 256).astype(dtype)
        one("sigmoid", "QLinearSigmoid", [every, *a, *scaled(1 / 256, 0)])
        one("leaky_relu", "QLinearLeakyRelu", [every, *a, *c], alpha=0.1)
        image = some(2, 3, 6, 7)
        for last in (0, 1):
            one(f"global_pool_{last}", "QLinearGlobalAveragePool", [image, *a, *c], channels_last=last)
            one(f"average_pool_{last}", "QLinearAveragePool", [image, *a, *c], kernel_shape=[2, 3], strides=[1, 2],
                pads=[1, 0, 0, 1], channels_last=last)
        one("average_pool_padded", "QLinearAveragePool", [image, *a, *c], kernel_shape=[3, 3], pads=[1] * 4,
            count_include_pad=1)
        one("concat", "QLinearConcat", [*c, some(2, 3, 4), *a, some(2, 5, 4), *c], axis=1)


def packed():
    rng = np.random.default_rng(8)
    n, k = 5, 80
    for bits in (2, 4, 8):
        for block in (16, 32):
            blocks, per = -(-k // block), 8 // bits
            b = rng.integers(0, 256, (n, blocks, block // per), np.uint8)
            scales = (rng.random((n, blocks)) * 0.1 + 0.01).astype(np.float32)
            zeros = {"default": None, "packed": rng.integers(0, 256, (n, -(-blocks // per)), np.uint8)}
            if bits != 8:
                zeros["float"] = (rng.random((n, blocks)) * 2**bits).astype(np.float32)
            for what, zero in zeros.items():
                case(f"matmul_{bits}_bits_{block}_{what}", "MatMulNBits",
                     [f32(2, 3, k), b, scales, zero] + ([None, f32(n)] if what == "packed" else []), bits=bits, K=k,
                     N=n, block_size=block, constants=(1, 2) if zero is None else (1, 2, 3))


def integer_products():
    rng = np.random.default_rng(11)
    scale = np.array(0.03, np.float32)
    columns = (rng.random(6) * 0.1).astype(np.float32)
    for dtype in (np.uint8, np.int8):
        least = np.iinfo(dtype).min
        some = lambda *shape: rng.integers(least, least + 256, shape, dtype)
        name = np.dtype(dtype).name
        b = some(5, 6)
        case(f"to_float_{name}", "MatMulIntegerToFloat", [some(2, 3, 5), b, scale, scale, some(), some(), f32(6)])
        case(f"to_float_columns_{name}", "MatMulIntegerToFloat", [some(3, 5), b, scale, columns, some(), some(6)])
        case(f"to_float_no_zero_{name}", "MatMulIntegerToFloat", [some(3, 5), b, scale, columns])
        case(f"dynamic_{name}", "DynamicQuantizeMatMul", [f32(2, 3, 5), b, scale, some(), f32(6)])
        case(f"dynamic_columns_{name}", "DynamicQuantizeMatMul", [f32(3, 5), b, columns, some(6)])
        case(f"dynamic_no_zero_{name}", "DynamicQuantizeMatMul", [f32(3, 5), b, scale], constants=(1, 2))


def group_query():
    heads, kv, size, tokens = 4, 2, 16, 3
    q, k, v = f32(2, tokens, heads * size), f32(2, tokens, kv * size), f32(2, tokens, kv * size, seed=1)
    q1, k1, v1 = f32(2, 1, heads * size), f32(2, 1, kv * size), f32(2, 1, kv * size, seed=1)
    past = [f32(2, kv, 5, size), f32(2, kv, 5, size, seed=1)]
    turns = [f32(20, size // 2), f32(20, size // 2, seed=1)]

    def one(name, new, past, lengths, total, more=(), **attributes):
        case(f"group_query_{name}", "GroupQueryAttention",
             [*new, *past, np.array(lengths, np.int32), np.array(total, np.int32), *more],
             ("y", "present_key", "present_value"), num_heads=heads, kv_num_heads=kv, constants=(6,), **attributes)

    none = [None, None]
    first = ([q, k, v], none, [2, 2], 3)
    one("first", *first)
    one("first_in_buffer", [q, k, v], past, [2, 2], 3)
    one("first_turned", *first, turns, do_rotary=1)
    one("first_interleaved", *first, turns, do_rotary=1, rotary_interleaved=1)
    one("first_positions", *first, [*turns, np.array([[3, 4, 5], [3, 4, 5]], np.int64)], do_rotary=1)
    one("packed", [f32(2, tokens, (heads + 2 * kv) * size), None, None], none, [2, 2], 3, turns, do_rotary=1)
    one("next", [q1, k1, v1], past, [5, 3], 6)
    one("next_turned", [q1, k1, v1], past, [5, 3], 6, turns, do_rotary=1)
    one("next_positions", [q1, k1, v1], past, [5, 3], 6, [*turns, np.array([[3], [7]], np.int64)], do_rotary=1)
    one("next_in_buffer", [q1, k1, v1], past, [3, 2], 4)
    one("several_next", [q[:1], k[:1], v[:1]], [p[:1] for p in past], [7], 8, turns, do_rotary=1)
    one("window", *first, local_window_size=2)
    one("softcap_scale", *first, softcap=1.5, scale=0.5)
    one("smooth", *first, smooth_softmax=1)
    one("sink", *first, [None] * 4 + [f32(heads)])
    one("bias", *first, [None] * 3 + [f32(1, heads, tokens, 3)])
    one("bias_of_batch", *first, [None] * 3 + [f32(2, 1, tokens, 3)], softcap=2.0)
    one("not_causal", *first, causal=0)


def renamed():
    """What is brought to ONNX's own operators as the model is read."""
    x = f32(2, 3, 4)
    case("trilu", "Trilu", [x, np.array(1, np.int64)], upper=0)
    case("gather_nd", "GatherND", [x, np.array([[0, 1], [1, 2]], np.int64)])
    case("range", "Range", [np.array([1], np.float32), np.array([3.5], np.float32), np.array([0.5], np.float32)])
    case("range_by_one", "Range", [np.array(2, np.int32), np.array(7, np.int32)])
    case("pad", "Pad", [x, np.array([[0, 1, 0, 1, 0, 2]], np.int64), np.array([9], np.float32)])
    case("pad_reflect", "Pad", [x, np.array([0, 1, 0, 0, 0, 2], np.int64)], mode="reflect")
    case("expand_dims", "ExpandDims", [x, np.array(-1, np.int32)], constants=(1,))
    case("unique", "Unique", [np.array([3, 1, 3, 2, 1], np.float32)], ("y", "idx", "counts"))
    case("transpose_matmul", "TransposeMatMul", [f32(2, 3, 4), f32(2, 5, 4)], transB=1, alpha=0.5)
    image, grid = f32(2, 3, 4, 5), f32(2, 2, 3, 2)
    case("grid_sample", "GridSample", [image, grid])
    case("grid_sample_border", "GridSample", [image, grid], mode="nearest", padding_mode="border", align_corners=1)
    case("conv_transpose_pads", "ConvTransposeWithDynamicPads", [f32(1, 2, 4, 4), f32(2, 3, 3, 3),
         np.array([1, 0, 1, 2], np.int64)], strides=[2, 2], constants=(2,))
    case("linear_attention", "LinearAttention", [f32(2, 3, 8), f32(2, 3, 4), f32(2, 3, 6)], ("y", "state"),
         q_num_heads=2, kv_num_heads=1, update_rule="linear")
    case("gated_delta", "LinearAttention",
         [f32(2, 3, 8, scale=0.5), f32(2, 3, 8, seed=1, scale=0.5), f32(2, 3, 6), f32(2, 2, 4, 3), -abs(f32(2, 3, 2)),
          abs(f32(2, 3, 2, seed=4))], ("y", "state"), q_num_heads=2, kv_num_heads=2)
    case("causal_conv", "CausalConvWithState", [f32(2, 3, 5), f32(3, 1, 4), f32(3), f32(2, 3, 3)], ("y", "state"),
         activation="silu")
    rng = np.random.default_rng(13)
    scale = np.array(0.04, np.float32)
    for t in (np.uint8, np.int8, np.uint16, np.int16):
        least = np.iinfo(t).min
        case(f"quantize_{t.__name__}", "QuantizeLinear", [x, scale, np.array(least + 100, t)])
        case(f"dequantize_{t.__name__}", "DequantizeLinear",
             [rng.integers(least, np.iinfo(t).max, (3, 4), t), np.array([0.1, 0.2, 0.3], np.float32),
              np.array([1, 2, 3], t)], axis=0)
    for t in (np.uint8, np.int8):
        least, name = np.iinfo(t).min, t.__name__
        some = lambda *shape: rng.integers(least, least + 256, shape, t)
        scaled = lambda scale, zero: [np.array(scale, np.float32), np.array(zero, t)]
        case(f"nhwc_max_pool_{name}", "NhwcMaxPool", [some(2, 6, 7, 3)], kernel_shape=[3, 2], strides=[2, 1],
             pads=[1, 0, 1, 0])
        image, zero = some(1, 6, 7, 4), np.array(0, np.int8)
        w = rng.integers(-127, 128, (5, 4, 3, 3), np.int8)
        for last in (0, 1):
            case(f"contrib_qlinear_conv_{last}_{name}", "QLinearConv",
                 [image if last else image.transpose(0, 3, 1, 2).copy(), *scaled(0.02, 3), w, scale, zero, *scaled(0.5, 5),
                  rng.integers(-99, 99, 5, np.int32)], pads=[1] * 4, channels_last=last, constants=(3, 4, 5, 8))
        case(f"qlinear_softmax_{name}", "QLinearSoftmax", [some(2, 5), *scaled(0.03, 7), *scaled(1 / 256, least)], axis=-1,
             opset=13)
        case(f"qlinear_where_{name}", "QLinearWhere", [rng.random((2, 5)) > 0.5, some(2, 5), *scaled(0.03, 7), some(5),
             *scaled(0.02, 1), *scaled(0.05, 3)])
        columns = [(rng.random(6) * 0.1).astype(np.float32), some(6)]
        c = rng.integers(-99, 99, 6, np.int32)
        case(f"qgemm_{name}", "QGemm", [some(3, 5), *scaled(0.03, 7), some(5, 6), *scaled(0.02, 1), c, *scaled(1.5, 3)])
        case(f"qgemm_columns_{name}", "QGemm", [some(5, 3), *scaled(0.03, 7), some(6, 5), *columns, c], transA=1,
             transB=1, alpha=0.5)
        if t == np.uint8:
            case("qattention", "QAttention",
                 [some(2, 3, 5), some(5, 24), f32(24), np.array(0.01, np.float32), np.array(0.02, np.float32),
                  np.array([2, 3], np.int32), np.array(3, t), np.array(9, t)], num_heads=2)
    few = [rng.integers(0, 256, shape, np.uint8) for shape in ((11, 8), (9, 8), (2, 8), (8,), (8,))]
    ids, kinds = rng.integers(0, 11, (2, 5), np.int32), rng.integers(0, 2, (2, 5), np.int32)
    case("qembed_layer_norm", "QEmbedLayerNormalization",
         [ids, kinds, *few, None, *[np.array(0.01 * (i + 1), np.float32) for i in range(5)],
          *[np.array(120 + i, np.uint8) for i in range(5)]], ("y", "mask_index"), constants=range(2, 18))


def more():
    rng = np.random.default_rng(17)
    b, groups = rng.integers(0, 256, (5, 3, 16), np.uint8), rng.integers(0, 3, 80, np.int32)
    case("matmul_4_bits_groups", "MatMulNBits", [f32(2, 80), b, f32(5, 3), None, groups], bits=4, K=80, N=5,
         block_size=32, constants=(1, 2, 4))
    for kind in (0, 1):
        b = rng.integers(0, 256, 48 * 5 // 2, np.uint8)
        case(f"bnb4_{kind}", "MatMulBnb4", [f32(2, 3, 48), b, abs(f32(15))], K=48, N=5, block_size=16, quant_type=kind,
             constants=(1, 2))
    case("inverse", "Inverse", [f32(2, 5, 5)])
    case("cdist", "CDist", [f32(3, 4), f32(5, 4)])
    case("cdist_root", "CDist", [f32(3, 4), f32(5, 4)], metric="euclidean")
    ids = np.array([[1, 0], [-1, 2]], np.int64)
    for bits in (2, 4, 8):
        data = rng.integers(0, 256, (3, 2, 48 * bits // 8), np.uint8)
        zeros = rng.integers(0, 256, (3, 2, -(-3 * bits // 8)), np.uint8)
        for name, zero in (("", None), ("_zeros", zeros)):
            case(f"gather_blocks_{bits}{name}", "GatherBlockQuantized", [data, ids, f32(3, 2, 3), zero], bits=bits,
                 block_size=16, quantize_axis=2, constants=(0, 2) if zero is None else (0, 2, 3))
    x, router, w1, w2 = f32(2, 3, 4), f32(6, 5), f32(5, 6, 4), f32(5, 4, 6)
    for activation in ("relu", "gelu", "silu", "identity"):
        case(f"moe_{activation}", "MoE", [x, router, w1, f32(5, 6), w2, f32(5, 4)], k=2, activation_type=activation)
    case("moe_normalized", "MoE", [f32(6, 4), router, w1, None, w2], k=3, normalize_routing_weights=1)
    case("moe_swiglu", "MoE", [x, router, f32(5, 12, 4), f32(5, 12), w2], k=2, activation_type="swiglu",
         swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=0.7, normalize_routing_weights=1)


def out_type(op, name, inputs):
    if op in ("QuantizeLinear", "GatherND", "Unique", "Range", "NhwcMaxPool", "QGemm") or op.endswith("Where"):
        return None
    if op.startswith("QLinear"):
        return helper.np_dtype_to_tensor_dtype(inputs[2].dtype if op != "QLinearConcat" else inputs[1].dtype)
    return TensorProto.INT32 if name == "mask_index" else TensorProto.FLOAT


def build(folder, name, op, inputs, outputs, domain, constants, attributes):
    """Writes the model and its data set; returns why not where ONNX Runtime does not run it."""
    names = ["" if x is None else f"i{k}" for k, x in enumerate(inputs)]
    node = helper.make_node(op, names, outputs, domain=domain, name="node", **attributes)
    held = [numpy_helper.from_array(inputs[k], names[k]) for k in constants if inputs[k] is not None]
    given = [(n, x) for k, (n, x) in enumerate(zip(names, inputs)) if n and k not in constants]
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in given],
        [onnx.ValueInfoProto(name=n) if out_type(op, n, inputs) is None
         else helper.make_tensor_value_info(n, out_type(op, n, inputs), None) for n in outputs if n], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)],
                              ir_version=10)
    at = folder / name
    (at / "test_data_set_0").mkdir(parents=True)
    onnx.save(model, at / "model.onnx")
    try:
        found = peers.session(at / "model.onnx").run(None, dict(given))
    except Exception as failure:
        shutil.rmtree(at)
        return str(failure)
    for k, x in enumerate(found):
        graph_out = model.graph.output[k]
        graph_out.CopyFrom(helper.make_tensor_value_info(graph_out.name, helper.np_dtype_to_tensor_dtype(x.dtype),
                                                         x.shape))
        (at / "test_data_set_0" / f"output_{k}.pb").write_bytes(
            numpy_helper.from_array(x, graph_out.name).SerializeToString())
    for k, (n, x) in enumerate(given):
        (at / "test_data_set_0" / f"input_{k}.pb").write_bytes(numpy_helper.from_array(x, n).SerializeToString())
    onnx.save(model, at / "model.onnx")
    return None


def read_all(folder, kind):
    paths = sorted((folder / "test_data_set_0").glob(f"{kind}_*.pb"), key=lambda p: int(p.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(p)) for p in paths]


def emit(gopt, folder):
    """Why the model written as plain ONNX is wrong; None where it is right."""
    out = folder / "plain.onnx"
    r = subprocess.run([gopt, "optimize", str(folder / "model.onnx"), "-q", "--emit", "onnx", "-o", str(out)], text=True,
                       capture_output=True)
    if r.returncode:
        return r.stderr.strip()
    left = {n.op_type for n in onnx.load(out).graph.node if n.domain or n.op_type == "SimplifiedLayerNormalization"}
    if left:
        return f"{', '.join(left)} stayed"
    try:
        session = peers.session(out)
        found = session.run(None, dict(zip([i.name for i in session.get_inputs()], read_all(folder, "input"))))
    except Exception as failure:
        return str(failure)
    for x, y in zip(found, read_all(folder, "output")):
        if x.shape != y.shape or not np.allclose(x, y, rtol=1e-3, atol=1e-4):
            return f"answers differ: shapes {x.shape} and {y.shape}" + (
                f", by up to {np.abs(x - y).max()}" if x.shape == y.shape else "")
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gopt")
    parser.add_argument("--keep")
    parser.add_argument("regex", nargs="?", default="")
    o = parser.parse_args()
    pointwise()
    products()
    normalizations()
    multi_head()
    projected()
    rotary()
    quantized()
    packed()
    integer_products()
    group_query()
    renamed()
    more()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(o.keep or temporary)
        for c in CASES:
            if re.search(o.regex, c[0]):
                why = build(folder, *c)
                if why:
                    print(f"{c[0]}: ONNX Runtime does not run it: {why}")
                    failed += 1
        for level in ("0", "2"):
            r = subprocess.run([o.gopt, "conformance", str(folder), "--level", level], text=True, capture_output=True)
            print(f"level {level}:\n{r.stdout}{r.stderr}", end="")
            failed += r.returncode != 0
        wrong = 0
        for at in sorted(p for p in folder.iterdir() if p.is_dir()):
            why = emit(o.gopt, at)
            if why and not (why.endswith("stayed") and any(re.search(s, at.name) for s in STAYS)):
                print(f"--emit onnx: {at.name}: {why}")
                wrong += 1
        print(f"--emit onnx: {len(list(folder.iterdir())) - wrong} right, {wrong} wrong")
        failed += wrong
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
