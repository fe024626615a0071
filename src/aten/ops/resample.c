/* Resizing, sampling and patches. */
#include "aten/ops/pointwise.h"

/* ---- resizing ---- */

/* Which way a row's name says: "upsample_nearest2d", "_upsample_nearest_exact1d", "_upsample_bicubic2d_aa". */
static const char *resize_text(gi_aten *a, bool align)
{
    const char *name = a->row->name;
    const bool antialias = strstr(name, "_aa") != NULL;
    const char *linear = align ? "align_corners" : "half_pixel";
    if (strstr(name, "nearest_exact"))
        return "mode = \"nearest\", coordinate_transformation_mode = \"half_pixel\", nearest_mode = "
               "\"round_prefer_ceil\"";
    if (strstr(name, "nearest"))
        return "mode = \"nearest\", coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"";
    const char *mode = strstr(name, "bicubic") ? "cubic" : "linear";
    if (antialias) /* weights of what lies outside are shared out; a is Pillow's */
        return gi_arena_printf(a->scratch,
                               "mode = \"%s\", coordinate_transformation_mode = \"%s\", antialias = 1, exclude_outside "
                               "= 1, cubic_coeff_a = -0.5",
                               mode, linear);
    return gi_arena_printf(a->scratch, "mode = \"%s\", coordinate_transformation_mode = \"%s\"", mode, linear);
}

/* Sizes win over scales only where there are none: PyTorch reckons places with the scale that it was given. */
bool gi_aten_upsample(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, gi_aten_has(a, "input") ? "input" : "self");
    static const char *const one[] = { "scales_d", "scales_h", "scales_w", "scales" };
    int rank;
    bool align;
    uint32_t n;
    const double *factors;
    float scales[GOPT_MAX_RANK] = { 1, 1 };
    double v;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_bool(a, "align_corners", &align) ||
        !gi_aten_floats(a, "scale_factors", &n, &factors))
        return false;
    const int dims = rank - 2;
    if (dims < 1 || dims > 3)
        return gi_aten_decline(a, "its input has rank %d, expected 3 to 5", rank);
    const char *how = resize_text(a, align);
    uint32_t have = 0;
    for (uint32_t i = 0; i < n && n == (uint32_t)dims; i++)
        scales[2 + have++] = (float)factors[i];
    for (size_t i = 0; !n && i < GI_COUNT(one); i++)
        if (gi_aten_has(a, one[i])) {
            if (!gi_aten_float(a, one[i], &v))
                return false;
            scales[2 + have++] = (float)v;
        }
    if (have == (uint32_t)dims && !align) {
        gi_value *s = gi_const_f32(a->g, 1, rank, scales);
        gi_node *r = x && s ? gi_aten_node(a, OP_Resize, 3, (gi_value *[]){ x, NULL, s }, 1, "%s", how) : NULL;
        return gi_aten_return(a, 0, gi_node_out(r, 0));
    }
    gi_value *size = gi_aten_ints_value(a, "output_size");
    if (!gi_aten_has(a, "output_size")) { /* ⌊size · scale⌋: the dims must be known */
        int64_t to[3], d;
        for (int i = 0; i < dims; i++) {
            if (!gi_aten_dim_const(a, x, 2 + i, &d))
                return false;
            to[i] = (int64_t)((double)d * (double)scales[2 + i]);
        }
        size = gi_aten_list(a, (uint32_t)dims, to);
    }
    gi_value *front = gi_aten_concat(a, 2, (gi_value *[]){ gi_aten_dim(a, x, 0), gi_aten_dim(a, x, 1) }, 0);
    size = gi_aten_concat(a, 2, (gi_value *[]){ front, size }, 0);
    gi_node *r = x && size ? gi_aten_node(a, OP_Resize, 4, (gi_value *[]){ x, NULL, NULL, size }, 1, "%s", how) : NULL;
    return gi_aten_return(a, 0, gi_node_out(r, 0));
}

/* ---- sampling ---- */

bool gi_aten_grid_sampler(gi_aten *a)
{
    static const char *const modes[] = { "linear", "nearest", "cubic" }, *const paddings[] = { "zeros", "border",
                                                                                               "reflection" };
    int64_t mode, padding;
    bool align;
    if (!gi_aten_int(a, "interpolation_mode", &mode) || !gi_aten_int(a, "padding_mode", &padding) ||
        !gi_aten_bool(a, "align_corners", &align))
        return false;
    if (mode < 0 || mode > 2 || padding < 0 || padding > 2)
        return gi_aten_decline(a, "its modes are %lld and %lld, expected 0 to 2", (long long)mode, (long long)padding);
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_GridSample, 2,
                                       (gi_value *[]){ gi_aten_tensor(a, "input"), gi_aten_tensor(a, "grid") },
                                       "mode = \"%s\", padding_mode = \"%s\", align_corners = %d", modes[mode],
                                       paddings[padding], align));
}

bool gi_aten_affine_grid(gi_aten *a)
{
    bool align;
    return gi_aten_bool(a, "align_corners", &align) &&
           gi_aten_return(a, 0,
                          gi_aten_make(a, OP_AffineGrid, 2,
                                       (gi_value *[]){ gi_aten_tensor(a, "theta"), gi_aten_ints_value(a, "size") },
                                       "align_corners = %d", align));
}

/* ---- patches ---- */

/* Places of the elements of all windows along a dim: [kernel, windows]. */
static gi_value *window_places(gi_aten *a, int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t *n)
{
    const int64_t span = dilation * (kernel - 1) + 1;
    *n = size >= span && stride > 0 ? (size - span) / stride + 1 : 0;
    const int64_t shape[2] = { kernel, *n };
    gi_blob *b;
    if (*n < 1 || *n * kernel > 1 << 24) {
        gi_aten_decline(a, "%lld elements have no windows of %lld", (long long)size, (long long)span);
        return NULL;
    }
    if (gi_blob_create(a->g->cx, GOPT_I64, 2, shape, &b) != GOPT_OK)
        return NULL;
    for (int64_t k = 0; k < kernel; k++)
        for (int64_t i = 0; i < *n; i++)
            gi_store_i64(GOPT_I64, b->owned, (size_t)(k * *n + i), i * stride + k * dilation);
    return gi_const(a->g, b, NULL);
}

typedef struct patches {
    int64_t kernel[2], dilation[2], padding[2], stride[2];
} patches;

static bool read_patches(gi_aten *a, patches *p)
{
    return gi_aten_ints_of(a, "kernel_size", 2, p->kernel) && gi_aten_ints_of(a, "dilation", 2, p->dilation) &&
           gi_aten_ints_of(a, "padding", 2, p->padding) && gi_aten_ints_of(a, "stride", 2, p->stride);
}

/* Each window a column. */
bool gi_aten_im2col(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    patches p;
    int rank;
    int64_t c, h, w, nh, nw;
    static const int64_t first[] = { 0 }, perm[] = { 0, 1, 2, 4, 3, 5 };
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !read_patches(a, &p) || !gi_aten_dim_const(a, x, -3, &c) ||
        !gi_aten_dim_const(a, x, -2, &h) || !gi_aten_dim_const(a, x, -1, &w) || !gi_aten_dtype_of(a, x, &t))
        return false;
    gi_value *y = rank == 3 ? gi_aten_unsqueeze(a, x, 1, first) : x;
    const int64_t pads[8] = { 0, 0, p.padding[0], p.padding[1], 0, 0, p.padding[0], p.padding[1] };
    if (p.padding[0] || p.padding[1])
        y = gi_aten_make(a, OP_Pad, 3, (gi_value *[]){ y, gi_aten_list(a, 8, pads), gi_aten_number(a, t, 0) }, NULL);
    gi_value *rows = window_places(a, h + 2 * p.padding[0], p.kernel[0], p.stride[0], p.dilation[0], &nh);
    gi_value *columns = window_places(a, w + 2 * p.padding[1], p.kernel[1], p.stride[1], p.dilation[1], &nw);
    y = gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ y, rows }, "axis = 2");
    y = gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ y, columns }, "axis = 4");
    const int64_t to[3] = { 0, c * p.kernel[0] * p.kernel[1], nh * nw };
    y = gi_aten_reshape(a, gi_aten_transpose(a, y, 6, perm), 3, to);
    return gi_aten_return(a, 0, rank == 3 ? gi_aten_squeeze(a, y, 1, first) : y);
}

bool gi_aten_col2im(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    patches p;
    int rank;
    static const int64_t first[] = { 0 };
    if (!gi_aten_rank(a, x, &rank) || !read_patches(a, &p))
        return false;
    x = rank == 2 ? gi_aten_unsqueeze(a, x, 1, first) : x;
    const int64_t pads[4] = { p.padding[0], p.padding[1], p.padding[0], p.padding[1] };
    gi_value *y = gi_aten_make(a, OP_Col2Im, 3,
                               (gi_value *[]){ x, gi_aten_ints_value(a, "output_size"), gi_aten_list(a, 2, p.kernel) },
                               "dilations = %s, pads = %s, strides = %s", gi_aten_ints_text(a, 2, p.dilation),
                               gi_aten_ints_text(a, 4, pads), gi_aten_ints_text(a, 2, p.stride));
    return gi_aten_return(a, 0, rank == 2 ? gi_aten_squeeze(a, y, 1, first) : y);
}
