/* Reading images at given places: GridSample, and AffineGrid that makes the places. */
#include <math.h>

#include "ops/resize.h"

typedef enum grid_mode { GRID_LINEAR, GRID_NEAREST, GRID_CUBIC } grid_mode;
typedef enum grid_padding { GRID_ZEROS, GRID_BORDER, GRID_REFLECTION } grid_padding;

enum { GRID_MAX_SPATIAL = 6 }; /* cubic reads 4 to that power */

typedef struct grid {
    int n; /* spatial dimensions */
    grid_mode mode;
    grid_padding padding;
    bool align;
    int64_t size[GRID_MAX_SPATIAL], stride[GRID_MAX_SPATIAL];
    const double *x; /* the plane */
} grid;

static const char *read_grid(const gi_node *n, grid *g)
{
    const char *mode = gi_attr_str(n, GridSample_at_mode), *padding = gi_attr_str(n, GridSample_at_padding_mode);
    /* Opset 16 spelt them so. */
    if (!strcmp(mode, "linear") || !strcmp(mode, "bilinear"))
        g->mode = GRID_LINEAR;
    else if (!strcmp(mode, "cubic") || !strcmp(mode, "bicubic"))
        g->mode = GRID_CUBIC;
    else if (!strcmp(mode, "nearest"))
        g->mode = GRID_NEAREST;
    else
        return "attribute mode is none of linear, nearest and cubic";
    if (!strcmp(padding, "zeros"))
        g->padding = GRID_ZEROS;
    else if (!strcmp(padding, "border"))
        g->padding = GRID_BORDER;
    else if (!strcmp(padding, "reflection"))
        g->padding = GRID_REFLECTION;
    else
        return "attribute padding_mode is none of zeros, border and reflection";
    g->align = gi_attr_int(n, GridSample_at_align_corners) != 0;
    return NULL;
}

gopt_status gi_infer_grid_sample(gi_infer *c)
{
    grid g;
    const char *why = read_grid(c->n, &g);
    const int rank = gi_infer_rank(c, GridSample_in_X) >= 0 ? gi_infer_rank(c, GridSample_in_X)
                                                            : gi_infer_rank(c, GridSample_in_grid);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    if (rank < 0) {
        gi_infer_set_like(c, 0, GridSample_in_X, -1, NULL);
        return GOPT_OK;
    }
    const gi_dim *dims[GOPT_MAX_RANK], *spatial = gi_dim_const(c->g->dims, rank - 2);
    GI_NEED(spatial);
    GI_TRY(gi_infer_want_rank_at_least(c, GridSample_in_X, 3));
    GI_TRY(gi_infer_want_rank(c, GridSample_in_grid, rank));
    GI_TRY(gi_infer_want_dim(c, GridSample_in_grid, rank - 1, spatial, "a coordinate a spatial dimension"));
    dims[0] = gi_infer_dim(c, GridSample_in_X, 0);
    dims[1] = gi_infer_dim(c, GridSample_in_X, 1);
    for (int i = 2; i < rank; i++)
        dims[i] = gi_infer_dim(c, GridSample_in_grid, i - 1);
    gi_infer_set_like(c, 0, GridSample_in_X, rank, dims);
    return GOPT_OK;
}

/* Reflects x at the borders until it lies between them. */
static double reflect(double x, double low, double high)
{
    const double range = high - low;
    if (!(range > 0))
        return low;
    if (x >= low && x <= high)
        return x;
    const double over = x < low ? low - x : x - high, turns = floor(over / range), rest = over - turns * range;
    return (x < low) == (fmod(turns, 2) == 0) ? low + rest : high - rest;
}

/* A place outside is brought to the border, or reflected. */
static double place_inside(const grid *g, int d, double x)
{
    const double low = g->align ? 0 : -0.5, high = (double)g->size[d] - (g->align ? 1 : 0.5);
    if (x >= low && x <= high)
        return x;
    if (g->padding == GRID_BORDER && g->mode == GRID_CUBIC) /* each of its taps is brought to the border for itself */
        return x;
    if (g->padding == GRID_BORDER)
        return fmin(fmax(x, 0), (double)g->size[d] - 1);
    return g->padding == GRID_REFLECTION ? reflect(x, low, high) : x;
}

/* The index that stands for i; -1 where it reads zero. */
static int64_t index_inside(const grid *g, int d, int64_t i)
{
    const int64_t last = g->size[d] - 1;
    if (i >= 0 && i <= last)
        return i;
    if (g->padding == GRID_ZEROS)
        return -1;
    if (g->padding == GRID_REFLECTION)
        i = (int64_t)reflect((double)i, g->align ? 0 : -0.5, (double)last + (g->align ? 0 : 0.5));
    return gi_min_i64(gi_max_i64(i, 0), last);
}

/* The value at `place`, one coordinate a dimension in the tensor's order. */
static double sample(const grid *g, const double *place)
{
    int64_t index[GRID_MAX_SPATIAL][4];
    double weight[GRID_MAX_SPATIAL][4], sum = 0;
    const int taps = g->mode == GRID_NEAREST ? 1 : g->mode == GRID_LINEAR ? 2 : 4;
    int64_t all = 1;
    for (int d = 0; d < g->n; d++) {
        const double at = g->mode == GRID_NEAREST ? rint(place[d]) : floor(place[d]), t = place[d] - at;
        const int64_t first = (int64_t)at - (taps == 4);
        if (taps == 4)
            gi_cubic_weights(t, -0.75, weight[d]);
        else
            weight[d][0] = taps == 1 ? 1 : 1 - t, weight[d][1] = t;
        for (int k = 0; k < taps; k++)
            index[d][k] = index_inside(g, d, first + k);
        all *= taps;
    }
    for (int64_t i = 0; i < all; i++) {
        int64_t rest = i, offset = 0;
        double w = 1;
        bool inside = true;
        for (int d = g->n - 1; d >= 0; d--, rest /= taps) {
            const int64_t k = rest % taps;
            inside = inside && index[d][k] >= 0;
            offset += index[d][k] * g->stride[d];
            w *= weight[d][k];
        }
        if (inside && w != 0)
            sum += w * g->x[offset];
    }
    return sum;
}

/* The place that a grid entry means; its coordinates run from the innermost dimension outward. */
static void read_place(const grid *g, const double *entry, double *place)
{
    for (int d = 0; d < g->n; d++) {
        const double v = entry[g->n - 1 - d], size = (double)g->size[d];
        double x = g->align ? (v + 1) / 2 * (size - 1) : ((v + 1) * size - 1) / 2;
        if (g->mode == GRID_NEAREST)
            x = rint(x);
        x = place_inside(g, d, x);
        /* Far away is as good as anywhere outside; so is what is no number. */
        place[d] = x >= -1e12 && x <= 1e12 ? x : -1e12;
    }
}

gopt_status gi_eval_grid_sample(gi_eval *a)
{
    grid g = { 0 };
    int64_t dims[GOPT_MAX_RANK];
    const double *x, *entries;
    gi_real y;
    const char *why = read_grid(a->n, &g);
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    GI_TRY(gi_eval_rank_at_least(a, GridSample_in_X, 3));
    const gopt_tensor *t = a->in[GridSample_in_X];
    g.n = t->rank - 2;
    if (g.n > GRID_MAX_SPATIAL)
        return gi_eval_fail(a, GridSample_in_X, "has rank %d, expected at most %d", t->rank, GRID_MAX_SPATIAL + 2);
    GI_TRY(gi_eval_rank(a, GridSample_in_grid, t->rank));
    const gopt_tensor *places = a->in[GridSample_in_grid];
    GI_TRY(gi_eval_dim(a, GridSample_in_grid, 0, t->dims[0]));
    GI_TRY(gi_eval_dim(a, GridSample_in_grid, t->rank - 1, g.n));
    memcpy(g.size, t->dims + 2, (size_t)g.n * sizeof *g.size);
    gi_strides(g.n, g.size, g.stride);
    dims[0] = t->dims[0];
    dims[1] = t->dims[1];
    memcpy(dims + 2, places->dims + 1, (size_t)g.n * sizeof *dims);
    GI_TRY(gi_real_in(a, GridSample_in_X, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_in(a, GridSample_in_grid, GOPT_F64, (const void **)&entries));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F64, t->rank, dims, &y));
    const int64_t plane = gi_product(0, g.n, g.size), points = gi_product(2, t->rank, dims);
    if (plane == 0 && points > 0 && dims[0] * dims[1] > 0)
        return gi_eval_fail(a, GridSample_in_X, "has no elements to read");
    for (int64_t b = 0; y.p && b < dims[0]; b++)
        for (int64_t i = 0; i < points; i++) {
            double place[GRID_MAX_SPATIAL];
            read_place(&g, entries + (b * points + i) * g.n, place);
            for (int64_t c = 0; c < dims[1]; c++) {
                g.x = x + (b * dims[1] + c) * plane;
                ((double *)y.p)[(b * dims[1] + c) * points + i] = sample(&g, place);
            }
        }
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- AffineGrid ---- */

gopt_status gi_infer_affine_grid(gi_infer *c)
{
    uint32_t n = 0;
    const gi_dim *const *size = gi_infer_known(c, AffineGrid_in_size, &n), *dims[5];
    GI_TRY(gi_infer_want_rank(c, AffineGrid_in_theta, 3));
    if (!size) {
        gi_infer_set_like(c, 0, AffineGrid_in_theta, -1, NULL);
        return GOPT_OK;
    }
    if (n != 4 && n != 5)
        return gi_infer_fail(c, AffineGrid_in_size, "expected 4 or 5 entries");
    const gi_dim *spatial = gi_dim_const(c->g->dims, (int64_t)n - 2);
    GI_NEED(spatial);
    GI_TRY(gi_infer_want_dim(c, AffineGrid_in_theta, 1, spatial, "a row a spatial dimension"));
    dims[0] = size[0];
    for (uint32_t i = 2; i < n; i++)
        dims[i - 1] = size[i];
    dims[n - 1] = spatial;
    gi_infer_set_like(c, 0, AffineGrid_in_theta, (int)n, dims);
    return GOPT_OK;
}

gopt_status gi_eval_affine_grid(gi_eval *a)
{
    const bool align = gi_attr_int(a->n, AffineGrid_at_align_corners) != 0;
    const gopt_tensor *size = a->n_in > AffineGrid_in_size ? a->in[AffineGrid_in_size] : NULL;
    const int64_t entries = size && gi_dtype_is_int(size->dtype) ? gopt_tensor_elements(size) : 0;
    int64_t dims[5] = { 0 }, at[3] = { 0 };
    const double *theta;
    gi_real out;
    if (entries != 4 && entries != 5)
        return gi_eval_fail(a, AffineGrid_in_size, "expected 4 or 5 entries");
    const int n = (int)entries - 2;
    dims[0] = gi_tensor_i64(size, 0);
    for (int i = 0; i < n; i++)
        dims[1 + i] = gi_tensor_i64(size, 2 + i);
    dims[n + 1] = n;
    for (int i = 0; i <= n; i++)
        if (dims[i] < 0)
            return gi_eval_fail(a, AffineGrid_in_size, "holds the negative number %lld", (long long)dims[i]);
    GI_TRY(gi_eval_rank(a, AffineGrid_in_theta, 3));
    GI_TRY(gi_eval_dim(a, AffineGrid_in_theta, 0, dims[0]));
    GI_TRY(gi_eval_dim(a, AffineGrid_in_theta, 1, n));
    GI_TRY(gi_eval_dim(a, AffineGrid_in_theta, 2, n + 1));
    GI_TRY(gi_real_in(a, AffineGrid_in_theta, GOPT_F64, (const void **)&theta));
    GI_TRY(gi_real_out_as(a, 0, a->in[0]->dtype, GOPT_F64, n + 2, dims, &out));
    double *y = out.p;
    const int64_t points = gi_product(1, n + 1, dims);
    for (int64_t i = 0; y && i < dims[0] * points; i++) {
        double place[4];
        /* From the innermost dimension outward, and 1 for the translation. */
        for (int d = 0; d < n; d++) {
            const double v = (double)at[d], m = (double)dims[1 + d];
            place[n - 1 - d] = align ? (m > 1 ? 2 * v / (m - 1) - 1 : -1) : (2 * v + 1) / m - 1;
        }
        place[n] = 1;
        for (int r = 0; r < n; r++) {
            double sum = 0;
            for (int k = 0; k <= n; k++)
                sum += theta[(i / points * n + r) * (n + 1) + k] * place[k];
            *y++ = sum;
        }
        for (int d = n - 1; d >= 0 && ++at[d] == dims[1 + d]; d--)
            at[d] = 0;
    }
    gi_real_store(&out);
    return GOPT_OK;
}
