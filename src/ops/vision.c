/* Boxes, regions, and images from pieces: NonMaxSuppression, RoiAlign, MaxRoiPool, MaxUnpool, Col2Im. */
#include <float.h>
#include <math.h>

#include "ops/keyed.h"
#include "ops/real.h"
#include "ops/window.h"

/* ---- NonMaxSuppression ---- */

static gopt_status infer_nms(gi_infer *c)
{
    const gi_dim *dims[2] = { gi_dim_unknown(c->g->dims, true), gi_dim_const(c->g->dims, 3) };
    const gi_dim *four = gi_dim_const(c->g->dims, 4);
    GI_NEED(dims[0] && dims[1] && four);
    GI_TRY(gi_infer_want_rank(c, NonMaxSuppression_in_boxes, 3));
    GI_TRY(gi_infer_want_rank(c, NonMaxSuppression_in_scores, 3));
    GI_TRY(gi_infer_want_dim(c, NonMaxSuppression_in_boxes, 2, four, "coordinates of a box"));
    if (gi_infer_rank(c, NonMaxSuppression_in_boxes) == 3) {
        const gi_dim *batch = gi_infer_dim(c, NonMaxSuppression_in_boxes, 0);
        GI_TRY(gi_infer_want_dim(c, NonMaxSuppression_in_scores, 0, batch, "the batch of boxes"));
        const gi_dim *boxes = gi_infer_dim(c, NonMaxSuppression_in_boxes, 1);
        GI_TRY(gi_infer_want_dim(c, NonMaxSuppression_in_scores, 2, boxes, "one score a box"));
    }
    gi_infer_set(c, 0, GOPT_I64, 2, dims);
    return GOPT_OK;
}

/* Corners in order, low before high. */
typedef struct box {
    float y0, x0, y1, x1;
} box;

static box read_box(const float *p, bool centred)
{
    if (centred)
        return (box){ p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2 };
    return (box){ fminf(p[0], p[2]), fminf(p[1], p[3]), fmaxf(p[0], p[2]), fmaxf(p[1], p[3]) };
}

/* Boxes that were kept, coordinate by coordinate, so that one box is held against LANES of them at a time.
 *
 * They lie in bands by their upper edges. Boxes share no more of their area than of their heights: one that begins
 * d above a box of height h, so that both span h + d and overlap by h at most, shares more than t only if
 * d < h (1 / t - 1); one that begins d below, only if d < h (1 - t). A box is held against those bands alone.
 * Detectors often shift the boxes of each class to a place of their own; most bands then hold boxes of one class. */
enum { LANES = 16, BAND = 64, MAX_BANDS = 4096 };

typedef struct kept {
    float *y0, *x0, *y1, *x1, *area; /* an unused place has no area */
    int64_t bands, first[MAX_BANDS + 1], n[MAX_BANDS];
    float low, per_height; /* band of y: (y - low) * per_height */
} kept;

static bool make_room(gi_eval *a, int64_t n, kept *k)
{
    float **const lists[] = { &k->y0, &k->x0, &k->y1, &k->x1, &k->area };
    const size_t room = (size_t)n + LANES * ((size_t)n / BAND + 1);
    for (size_t i = 0; i < GI_COUNT(lists); i++) {
        *lists[i] = gi_eval_scratch(a, room, sizeof(float));
        if (!*lists[i])
            return false;
    }
    return true;
}

static float area_of(const box *b)
{
    return (b->y1 - b->y0) * (b->x1 - b->x0);
}

static int64_t band_of(const kept *k, float y)
{
    const float at = (y - k->low) * k->per_height;
    return at > 0 ? at < (float)(k->bands - 1) ? (int64_t)at : k->bands - 1 : 0;
}

static void keep(kept *k, const box *b)
{
    const int64_t band = band_of(k, b->y0), at = k->first[band] + k->n[band]++;
    k->y0[at] = b->y0;
    k->x0[at] = b->x0;
    k->y1[at] = b->y1;
    k->x1[at] = b->x1;
    k->area[at] = area_of(b);
}

/* Does one of those in places from … to-1 share more than that of what both cover? */
static bool hides(const kept *k, int64_t from, int64_t to, const box *b, float area, float threshold)
{
    for (int64_t i = from; i < to; i += LANES) {
        int hidden = 0;
        for (int64_t j = i; j < i + LANES; j++) {
            const float y0 = b->y0 > k->y0[j] ? b->y0 : k->y0[j], y1 = b->y1 < k->y1[j] ? b->y1 : k->y1[j];
            const float x0 = b->x0 > k->x0[j] ? b->x0 : k->x0[j], x1 = b->x1 < k->x1[j] ? b->x1 : k->x1[j];
            const float height = y1 - y0, width = x1 - x0, both = height * width;
            hidden |= (height > 0) & (width > 0) & (k->area[j] > 0) & (both / (area + k->area[j] - both) > threshold);
        }
        if (hidden)
            return true;
    }
    return false;
}

static bool is_hidden(const kept *k, const box *b, float threshold)
{
    const float area = area_of(b), height = (b->y1 - b->y0) * 1.001F; /* more than rounding takes */
    int64_t from = 0, to = 0;
    if (!(area > 0))
        return false;
    if (k->bands > 1) {
        from = band_of(k, b->y0 - (height / threshold - height * 0.99F));
        to = band_of(k, b->y0 + (height - height * threshold * 0.99F));
    }
    for (int64_t band = from; band <= to; band++)
        if (hides(k, k->first[band], k->first[band] + k->n[band], b, area, threshold))
            return true;
    return false;
}

typedef struct nms {
    int64_t batches, classes, boxes, most;
    float iou, score;
    bool has_score, centred;
    const float *box, *scores;
    gi_keyed *order, *other;
    box *candidates; /* in the order of their scores */
    kept *kept;
    gi_vec(int64_t) out; /* triples */
} nms;

/* Bands for n candidates, and room in each for all that begin there. */
static void lay_bands(nms *s, int64_t n)
{
    kept *k = s->kept;
    float low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const float y = s->candidates[i].y0;
        low = y < low ? y : low;
        high = y > high ? y : high;
    }
    const bool spread = s->iou > 0 && high > low && high - low < FLT_MAX;
    k->bands = spread ? gi_max_i64(1, gi_min_i64(MAX_BANDS, n / BAND)) : 1;
    k->low = low;
    k->per_height = spread ? (float)k->bands / (high - low) : 0;
    memset(k->n, 0, (size_t)k->bands * sizeof *k->n);
    for (int64_t i = 0; i < n && k->bands > 1; i++)
        k->n[band_of(k, s->candidates[i].y0)]++;
    k->n[0] = k->bands > 1 ? k->n[0] : n;
    k->first[0] = 0;
    for (int64_t b = 0; b < k->bands; b++) {
        k->first[b + 1] = k->first[b] + (k->n[b] + LANES - 1) / LANES * LANES;
        k->n[b] = 0;
    }
    memset(k->area, 0, (size_t)k->first[k->bands] * sizeof *k->area);
}

/* Best first, the earlier of equals first. */
static int64_t read_candidates(nms *s, int64_t batch, int64_t class)
{
    const float *scores = s->scores + (batch * s->classes + class) * s->boxes, *boxes = s->box + batch * s->boxes * 4;
    int64_t n = 0;
    for (int64_t i = 0; i < s->boxes; i++) {
        s->order[n].key = ~gi_key_f32(scores[i]) & UINT32_MAX;
        s->order[n].at = i;
        n += scores[i] == scores[i] && (!s->has_score || scores[i] > s->score);
    }
    const gi_keyed *sorted = gi_sort_keyed(s->order, s->other, n);
    if (sorted != s->order) {
        s->other = s->order;
        s->order = (gi_keyed *)(uintptr_t)sorted;
    }
    for (int64_t i = 0; i < n; i++)
        s->candidates[i] = read_box(boxes + s->order[i].at * 4, s->centred);
    return n;
}

static bool suppress(nms *s, gi_arena *arena, int64_t batch, int64_t class)
{
    const int64_t n = read_candidates(s, batch, class);
    int64_t found = 0;
    lay_bands(s, n);
    for (int64_t i = 0; i < n && found < s->most; i++) {
        if (is_hidden(s->kept, &s->candidates[i], s->iou))
            continue;
        keep(s->kept, &s->candidates[i]);
        found++;
        if (!gi_push(arena, &s->out, batch) || !gi_push(arena, &s->out, class) ||
            !gi_push(arena, &s->out, s->order[i].at))
            return false;
    }
    return true;
}

/* The one number of an optional input, or what it is without. */
static double scalar(const gi_eval *a, uint32_t i, double absent)
{
    const gopt_tensor *t = i < a->n_in ? a->in[i] : NULL;
    return t && gopt_tensor_elements(t) == 1 ? gi_tensor_f64(t, 0) : absent;
}

static gopt_status eval_nms(gi_eval *a)
{
    nms s = { 0 };
    gopt_tensor *t;
    GI_TRY(gi_eval_rank(a, NonMaxSuppression_in_boxes, 3));
    GI_TRY(gi_eval_rank(a, NonMaxSuppression_in_scores, 3));
    const int64_t *boxes = a->in[NonMaxSuppression_in_boxes]->dims, *scores = a->in[NonMaxSuppression_in_scores]->dims;
    s.batches = boxes[0];
    s.boxes = boxes[1];
    s.classes = scores[1];
    GI_TRY(gi_eval_dim(a, NonMaxSuppression_in_boxes, 2, 4));
    GI_TRY(gi_eval_dim(a, NonMaxSuppression_in_scores, 0, s.batches));
    GI_TRY(gi_eval_dim(a, NonMaxSuppression_in_scores, 2, s.boxes));
    const double most = scalar(a, NonMaxSuppression_in_max_output_boxes_per_class, 0);
    s.most = most >= (double)s.boxes ? s.boxes : most > 0 ? (int64_t)most : 0;
    s.iou = (float)scalar(a, NonMaxSuppression_in_iou_threshold, 0);
    s.has_score = a->n_in > NonMaxSuppression_in_score_threshold && a->in[NonMaxSuppression_in_score_threshold];
    s.score = (float)scalar(a, NonMaxSuppression_in_score_threshold, 0);
    s.centred = gi_attr_int(a->n, NonMaxSuppression_at_center_point_box) != 0;
    GI_TRY(gi_real_in(a, NonMaxSuppression_in_boxes, GOPT_F32, (const void **)&s.box));
    GI_TRY(gi_real_in(a, NonMaxSuppression_in_scores, GOPT_F32, (const void **)&s.scores));
    s.order = gi_eval_scratch(a, (size_t)s.boxes + 1, sizeof *s.order);
    s.other = gi_eval_scratch(a, (size_t)s.boxes + 1, sizeof *s.other);
    s.candidates = gi_eval_scratch(a, (size_t)s.boxes, sizeof *s.candidates);
    s.kept = gi_eval_scratch(a, 1, sizeof *s.kept);
    GI_NEED(s.order && s.other && s.candidates && s.kept && make_room(a, s.boxes, s.kept));
    for (int64_t b = 0; b < s.batches; b++)
        for (int64_t k = 0; k < s.classes; k++)
            GI_NEED(suppress(&s, a->scratch, b, k));
    GI_TRY(gi_eval_out(a, 0, GOPT_I64, 2, (const int64_t[]){ (int64_t)s.out.n / 3, 3 }, &t));
    if (t && s.out.n)
        memcpy(t->data, s.out.p, t->bytes);
    return GOPT_OK;
}

/* ---- RoiAlign ---- */

static gopt_status infer_regions(gi_infer *c, int64_t height, int64_t width, int64_t columns)
{
    const gi_dim *want = gi_dim_const(c->g->dims, columns);
    const gi_dim *dims[4] = { gi_infer_dim(c, 1, 0), gi_infer_dim(c, 0, 1), NULL, NULL };
    GI_TRY(gi_infer_want_rank(c, 0, 4));
    GI_TRY(gi_infer_want_rank(c, 1, 2));
    if (height < 1 || width < 1)
        return gi_infer_fail_node(c, "its output is %lld by %lld, expected 1 or more", (long long)height,
                                  (long long)width);
    dims[2] = gi_dim_const(c->g->dims, height);
    dims[3] = gi_dim_const(c->g->dims, width);
    GI_NEED(want && dims[2] && dims[3]);
    GI_TRY(gi_infer_want_dim(c, 1, 1, want, "the numbers of a region"));
    gi_infer_set_like(c, 0, 0, 4, dims);
    return GOPT_OK;
}

static gopt_status infer_roi_align(gi_infer *c)
{
    const char *mode = gi_attr_str(c->n, RoiAlign_at_mode);
    if (strcmp(mode, "avg") != 0 && strcmp(mode, "max") != 0)
        return gi_infer_fail_node(c, "attribute mode is \"%.40s\", expected avg or max", mode);
    return infer_regions(c, gi_attr_int(c->n, RoiAlign_at_output_height), gi_attr_int(c->n, RoiAlign_at_output_width),
                         4);
}

typedef struct roi_align {
    int64_t height, width, channels, out_h, out_w, ratio;
    double scale;
    bool half_pixel, max;
    const double *x;
} roi_align;

/* Four neighbours and their weights of a place, all zero far outside. */
typedef struct corners {
    int64_t at[4];
    double weight[4];
} corners;

static corners find_corners(const roi_align *r, double y, double x)
{
    corners c = { 0 };
    if (!(y >= -1 && y <= (double)r->height && x >= -1 && x <= (double)r->width))
        return c;
    y = fmin(fmax(y, 0), (double)(r->height - 1));
    x = fmin(fmax(x, 0), (double)(r->width - 1));
    const int64_t y0 = (int64_t)y, x0 = (int64_t)x;
    const int64_t y1 = gi_min_i64(y0 + 1, r->height - 1), x1 = gi_min_i64(x0 + 1, r->width - 1);
    const double fy = y - (double)y0, fx = x - (double)x0;
    return (corners){ { y0 * r->width + x0, y0 * r->width + x1, y1 * r->width + x0, y1 * r->width + x1 },
                      { (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx } };
}

/* One region of one channel. The largest is taken of the weighted neighbours, as ONNX defines it. */
static bool align_region(const roi_align *r, const double *roi, const double *plane, double *out)
{
    const double shift = r->half_pixel ? 0.5 : 0;
    const double x0 = roi[0] * r->scale - shift, y0 = roi[1] * r->scale - shift;
    double w = roi[2] * r->scale - shift - x0, h = roi[3] * r->scale - shift - y0;
    if (!r->half_pixel) {
        w = fmax(w, 1);
        h = fmax(h, 1);
    }
    const double bin_h = h / (double)r->out_h, bin_w = w / (double)r->out_w;
    if (!(fabs(bin_h) < 1e5 && fabs(bin_w) < 1e5))
        return false;
    const int64_t rows = r->ratio > 0 ? r->ratio : (int64_t)ceil(bin_h),
                  cols = r->ratio > 0 ? r->ratio : (int64_t)ceil(bin_w);
    for (int64_t i = 0; i < r->out_h * r->out_w; i++) {
        const double top = y0 + (double)(i / r->out_w) * bin_h, left = x0 + (double)(i % r->out_w) * bin_w;
        double sum = 0, best = -INFINITY;
        for (int64_t k = 0; rows > 0 && cols > 0 && k < rows * cols; k++) {
            const corners c = find_corners(r, top + ((double)(k / cols) + 0.5) * bin_h / (double)rows,
                                           left + ((double)(k % cols) + 0.5) * bin_w / (double)cols);
            for (int j = 0; j < 4; j++) {
                const double v = c.weight[j] * plane[c.at[j]];
                sum += v;
                best = v > best ? v : best;
            }
        }
        if (rows <= 0 || cols <= 0)
            best = 0;
        out[i] = r->max ? best : sum / (double)gi_max_i64(rows * cols, 1);
    }
    return true;
}

static gopt_status region_shape(gi_eval *a, int64_t columns, const double **x, const double **rois)
{
    GI_TRY(gi_eval_rank(a, 0, 4));
    GI_TRY(gi_eval_rank(a, 1, 2));
    GI_TRY(gi_eval_dim(a, 1, 1, columns));
    if (gopt_tensor_elements(a->in[0]) == 0 && a->in[1]->dims[0] > 0)
        return gi_eval_fail(a, 0, "has no elements to read");
    GI_TRY(gi_real_in(a, 0, GOPT_F64, (const void **)x));
    return gi_real_in(a, 1, GOPT_F64, (const void **)rois);
}

static gopt_status eval_roi_align(gi_eval *a)
{
    roi_align r = { 0 };
    const double *rois;
    gi_real out;
    GI_TRY(region_shape(a, 4, &r.x, &rois));
    const gopt_tensor *x = a->in[0];
    const int64_t n = a->in[1]->dims[0];
    GI_TRY(gi_eval_rank(a, RoiAlign_in_batch_indices, 1));
    GI_TRY(gi_eval_dim(a, RoiAlign_in_batch_indices, 0, n));
    r.channels = x->dims[1];
    r.height = x->dims[2];
    r.width = x->dims[3];
    r.out_h = gi_attr_int(a->n, RoiAlign_at_output_height);
    r.out_w = gi_attr_int(a->n, RoiAlign_at_output_width);
    r.ratio = gi_attr_int(a->n, RoiAlign_at_sampling_ratio);
    r.scale = (double)gi_attr_float(a->n, RoiAlign_at_spatial_scale);
    r.half_pixel = gi_attr_is(a->n, RoiAlign_at_coordinate_transformation_mode, "half_pixel");
    r.max = gi_attr_is(a->n, RoiAlign_at_mode, "max");
    if (r.out_h < 1 || r.out_w < 1 || r.ratio < 0 || r.ratio > 65536)
        return gi_eval_fail(a, -1, "attributes output_height, output_width or sampling_ratio are out of range");
    GI_TRY(gi_real_out_as(a, 0, x->dtype, GOPT_F64, 4, (const int64_t[]){ n, r.channels, r.out_h, r.out_w }, &out));
    double *y = out.p;
    for (int64_t i = 0; y && i < n; i++) {
        const int64_t batch = gi_tensor_i64(a->in[RoiAlign_in_batch_indices], i);
        if (batch < 0 || batch >= x->dims[0])
            return gi_eval_fail(a, RoiAlign_in_batch_indices, "entry %lld is %lld, of a batch of %lld", (long long)i,
                                (long long)batch, (long long)x->dims[0]);
        for (int64_t c = 0; c < r.channels; c++, y += r.out_h * r.out_w)
            if (!align_region(&r, rois + 4 * i, r.x + (batch * r.channels + c) * r.height * r.width, y))
                return gi_eval_fail(a, RoiAlign_in_rois, "region %lld is too large", (long long)i);
    }
    gi_real_store(&out);
    return GOPT_OK;
}

/* ---- MaxRoiPool ---- */

static gopt_status infer_max_roi_pool(gi_infer *c)
{
    const int64_t *shape;
    if (gi_attr_ints(c->n, MaxRoiPool_at_pooled_shape, &shape) != 2)
        return gi_infer_fail_node(c, "attribute pooled_shape needs 2 entries");
    return infer_regions(c, shape[0], shape[1], 5);
}

/* Cells [*from, *to) of `size` that bin k of `bins` covers in a region that starts at `start`. */
static void bin_range(double start, double end, int64_t k, int64_t bins, int64_t size, int64_t *from, int64_t *to)
{
    const double length = fmax(end - start + 1, 1) / (double)bins, top = (double)size;
    *from = (int64_t)fmin(fmax(floor((double)k * length) + start, 0), top);
    *to = (int64_t)fmin(fmax(ceil((double)(k + 1) * length) + start, 0), top);
}

static double largest_of(const double *plane, int64_t width, const int64_t *y, const int64_t *x)
{
    double best = y[0] < y[1] && x[0] < x[1] ? -INFINITY : 0;
    for (int64_t i = y[0]; i < y[1]; i++)
        for (int64_t j = x[0]; j < x[1]; j++)
            best = fmax(best, plane[i * width + j]);
    return best;
}

static gopt_status eval_max_roi_pool(gi_eval *a)
{
    const double *x, *rois, scale = (double)gi_attr_float(a->n, MaxRoiPool_at_spatial_scale);
    const int64_t *shape;
    gi_real out;
    if (gi_attr_ints(a->n, MaxRoiPool_at_pooled_shape, &shape) != 2 || shape[0] < 1 || shape[1] < 1)
        return gi_eval_fail(a, -1, "attribute pooled_shape needs 2 positive entries");
    GI_TRY(region_shape(a, 5, &x, &rois));
    const int64_t *in = a->in[0]->dims, n = a->in[1]->dims[0];
    GI_TRY(gi_real_out_as(a, 0, a->in[0]->dtype, GOPT_F64, 4, (const int64_t[]){ n, in[1], shape[0], shape[1] }, &out));
    double *y = out.p;
    for (int64_t i = 0; y && i < n; i++) {
        const double *roi = rois + 5 * i;
        if (!(roi[0] >= 0 && roi[0] < (double)in[0]))
            return gi_eval_fail(a, MaxRoiPool_in_rois, "region %lld is of image %g, of a batch of %lld", (long long)i,
                                roi[0], (long long)in[0]);
        for (int k = 1; k < 5; k++)
            if (!(fabs(roi[k] * scale) < 1e9))
                return gi_eval_fail(a, MaxRoiPool_in_rois, "region %lld is out of range", (long long)i);
        for (int64_t k = 0; k < in[1] * shape[0] * shape[1]; k++) {
            const int64_t c = k / (shape[0] * shape[1]);
            int64_t rows[2], cols[2];
            bin_range(round(roi[2] * scale), round(roi[4] * scale), k / shape[1] % shape[0], shape[0], in[2], &rows[0],
                      &rows[1]);
            bin_range(round(roi[1] * scale), round(roi[3] * scale), k % shape[1], shape[1], in[3], &cols[0], &cols[1]);
            *y++ = largest_of(x + ((int64_t)roi[0] * in[1] + c) * in[2] * in[3], in[3], rows, cols);
        }
    }
    gi_real_store(&out);
    return GOPT_OK;
}

/* ---- MaxUnpool ---- */

/* Size of dimension i before pooling, for `in` after it. */
static bool unpooled(const gi_window *w, int i, int64_t in, int64_t *out)
{
    return in >= 0 && gi_mul_i64(in - 1, w->stride[i], out) &&
           gi_add_i64(*out, w->kernel[i] - w->begin[i] - w->end[i], out) && *out >= 0;
}

static gopt_status infer_max_unpool(gi_infer *c)
{
    gi_window w;
    uint32_t n = 0;
    int64_t v;
    const gi_dim *dims[GOPT_MAX_RANK];
    gi_dims *t = c->g->dims;
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 3));
    const int rank = gi_infer_rank(c, 0);
    const bool asked = gi_infer_has(c, MaxUnpool_in_output_shape);
    const gi_dim *const *shape = asked ? gi_infer_known(c, MaxUnpool_in_output_shape, &n) : NULL;
    if (rank < 0) {
        gi_infer_set_like(c, 0, 0, -1, NULL);
        return GOPT_OK;
    }
    if (!gi_window_read(c->n, rank - 2, NULL, &w))
        return gi_infer_fail_node(c, "%s", w.why);
    if (shape && n != (uint32_t)rank)
        return gi_infer_fail(c, MaxUnpool_in_output_shape, "expected %d entries", rank);
    for (int i = 0; i < rank; i++) {
        const gi_dim *d = gi_infer_dim(c, 0, i);
        if (asked)
            dims[i] = shape ? shape[i] : gi_dim_unknown(t, true);
        else if (i < 2)
            dims[i] = d;
        else if (gi_dim_is_const(d, &v)) {
            if (!unpooled(&w, i - 2, v, &v))
                return gi_infer_fail(c, 0, "dimension %d gives no output size", i);
            dims[i] = gi_dim_const(t, v);
        } else {
            const gi_dim *s = gi_dim_const(t, w.stride[i - 2]), *product = s ? gi_dim_mul(t, d, s) : NULL;
            const gi_dim *rest = gi_dim_const(t, w.kernel[i - 2] - w.begin[i - 2] - w.end[i - 2] - w.stride[i - 2]);
            dims[i] = product && rest ? gi_dim_add(t, product, rest) : NULL;
        }
        GI_NEED(dims[i]);
    }
    gi_infer_set_like(c, 0, 0, rank, dims);
    return GOPT_OK;
}

static gopt_status unpool_shapes(const gi_eval *a, int64_t *pooled, int64_t *out)
{
    const gopt_tensor *x = a->in[0],
                      *shape = a->n_in > MaxUnpool_in_output_shape ? a->in[MaxUnpool_in_output_shape] : NULL;
    gi_window w;
    if (!gi_window_read(a->n, x->rank - 2, NULL, &w))
        return gi_eval_fail(a, -1, "%s", w.why);
    for (int i = 0; i < x->rank; i++) {
        pooled[i] = x->dims[i];
        if (i >= 2 && !unpooled(&w, i - 2, x->dims[i], &pooled[i]))
            return gi_eval_fail(a, 0, "dimension %d gives no output size", i);
        out[i] = pooled[i];
    }
    if (shape && gopt_tensor_elements(shape) != x->rank)
        return gi_eval_fail(a, MaxUnpool_in_output_shape, "expected %d entries", x->rank);
    for (int i = 0; shape && i < x->rank; i++)
        out[i] = gi_tensor_i64(shape, i);
    return GOPT_OK;
}

/* Indices are of the shape that the attributes give; a larger output shape has that in its corner. */
static gopt_status eval_max_unpool(gi_eval *a)
{
    int64_t pooled[GOPT_MAX_RANK], dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], total = 1;
    gopt_tensor *y;
    GI_TRY(gi_eval_rank_at_least(a, 0, 3));
    GI_TRY(gi_eval_rank(a, MaxUnpool_in_I, a->in[0]->rank));
    const gopt_tensor *x = a->in[0], *index = a->in[MaxUnpool_in_I];
    for (int i = 0; i < x->rank; i++)
        GI_TRY(gi_eval_dim(a, MaxUnpool_in_I, i, x->dims[i]));
    GI_TRY(unpool_shapes(a, pooled, dims));
    for (int i = 0; i < x->rank; i++)
        if (!gi_mul_i64(total, pooled[i], &total) || dims[i] < 0)
            return gi_eval_fail(a, 0, "the output would be too large, or negative");
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y)
        return GOPT_OK;
    gi_strides(x->rank, dims, from);
    memset(y->data, 0, y->bytes);
    const size_t item = gi_item_size(x->dtype);
    for (int64_t i = 0; i < gopt_tensor_elements(x); i++) {
        int64_t k = gi_tensor_i64(index, i), to = 0;
        if (k < 0 || k >= total)
            return gi_eval_fail(a, MaxUnpool_in_I, "entry %lld is %lld, of %lld elements", (long long)i, (long long)k,
                                (long long)total);
        bool inside = true;
        for (int d = x->rank - 1; d >= 0; k /= pooled[d], d--) {
            inside = inside && k % pooled[d] < dims[d];
            to += k % pooled[d] * from[d];
        }
        if (inside)
            memcpy((char *)y->data + (size_t)to * item, (const char *)x->data + (size_t)i * item, item);
    }
    return GOPT_OK;
}

/* ---- Col2Im ---- */

static gopt_status infer_col2im(gi_infer *c)
{
    uint32_t n = 0, n_block = 0;
    int64_t *block, taps = 1;
    const gi_dim *const *image = gi_infer_known(c, Col2Im_in_image_shape, &n), *dims[GOPT_MAX_RANK];
    GI_TRY(gi_infer_want_rank(c, Col2Im_in_input, 3));
    const bool known = gi_infer_ints(c, Col2Im_in_block_shape, c->scratch, &n_block, &block);
    if (image && n > GI_WINDOW_MAX)
        return gi_infer_fail(c, Col2Im_in_image_shape, "expected at most %d entries", GI_WINDOW_MAX);
    if (image && known && n != n_block)
        return gi_infer_fail(c, Col2Im_in_block_shape, "expected %u entries, as image_shape has", n);
    if (!image) {
        gi_infer_set_like(c, 0, 0, -1, NULL);
        return GOPT_OK;
    }
    for (uint32_t i = 0; known && i < n_block; i++)
        if (block[i] < 1 || !gi_mul_i64(taps, block[i], &taps))
            return gi_infer_fail(c, Col2Im_in_block_shape, "expected positive numbers");
    const gi_dim *per = gi_dim_const(c->g->dims, taps);
    GI_NEED(per);
    dims[0] = gi_infer_dim(c, 0, 0);
    dims[1] = known ? gi_dim_floordiv(c->g->dims, gi_infer_dim(c, 0, 1), per) : gi_dim_unknown(c->g->dims, true);
    GI_NEED(dims[1]);
    for (uint32_t i = 0; i < n; i++)
        dims[2 + i] = image[i];
    gi_infer_set_like(c, 0, 0, (int)n + 2, dims);
    return GOPT_OK;
}

static gopt_status col2im_window(const gi_eval *a, gi_window *w)
{
    int64_t image[GI_WINDOW_MAX], block[GI_WINDOW_MAX];
    GI_TRY(gi_eval_rank(a, Col2Im_in_input, 3));
    GI_TRY(gi_eval_rank(a, Col2Im_in_image_shape, 1));
    GI_TRY(gi_eval_rank(a, Col2Im_in_block_shape, 1));
    const gopt_tensor *shape = a->in[Col2Im_in_image_shape], *blocks = a->in[Col2Im_in_block_shape];
    const int64_t n = shape->dims[0];
    GI_TRY(gi_eval_dim(a, Col2Im_in_block_shape, 0, n));
    if (n < 1 || n > GI_WINDOW_MAX)
        return gi_eval_fail(a, Col2Im_in_image_shape, "expected 1 to %d entries", GI_WINDOW_MAX);
    for (int64_t i = 0; i < n; i++) {
        image[i] = gi_tensor_i64(shape, i);
        block[i] = gi_tensor_i64(blocks, i);
        if (block[i] < 1)
            return gi_eval_fail(a, Col2Im_in_block_shape, "holds %lld, expected a positive number",
                                (long long)block[i]);
    }
    if (!gi_window_read(a->n, (int)n, block, w) || !gi_window_place(w, image))
        return gi_eval_fail(a, Col2Im_in_image_shape, "%s", w->why);
    return GOPT_OK;
}

/* Adds a row of columns, one tap of all blocks, into the plane. */
static void add_tap(const gi_window *w, const int64_t *tap, const double *x, double *plane)
{
    int64_t at[GI_WINDOW_MAX] = { 0 };
    const int64_t blocks = gi_product(0, w->n, w->out);
    for (int64_t i = 0; i < blocks; i++) {
        int64_t to = 0;
        bool inside = true;
        for (int d = 0; d < w->n; d++) {
            const int64_t place = at[d] * w->stride[d] + tap[d] * w->dilation[d] - w->begin[d];
            inside = inside && place >= 0 && place < w->in[d];
            to = to * w->in[d] + place;
        }
        if (inside)
            plane[to] += x[i];
        for (int d = w->n - 1; d >= 0 && ++at[d] == w->out[d]; d--)
            at[d] = 0;
    }
}

static gopt_status eval_col2im(gi_eval *a)
{
    gi_window w;
    int64_t dims[GOPT_MAX_RANK], taps = 1;
    const double *x;
    gi_real out;
    GI_TRY(col2im_window(a, &w));
    const gopt_tensor *t = a->in[Col2Im_in_input];
    for (int i = 0; i < w.n; i++)
        if (!gi_mul_i64(taps, w.kernel[i], &taps))
            return gi_eval_fail(a, Col2Im_in_block_shape, "is too large");
    if (t->dims[1] % taps)
        return gi_eval_fail(a, Col2Im_in_input, "has %lld rows, expected a multiple of %lld", (long long)t->dims[1],
                            (long long)taps);
    GI_TRY(gi_eval_dim(a, Col2Im_in_input, 2, gi_product(0, w.n, w.out)));
    dims[0] = t->dims[0];
    dims[1] = t->dims[1] / taps;
    memcpy(dims + 2, w.in, (size_t)w.n * sizeof *dims);
    GI_TRY(gi_real_in(a, Col2Im_in_input, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F64, w.n + 2, dims, &out));
    if (!out.p)
        return GOPT_OK;
    const int64_t plane = gi_product(0, w.n, w.in);
    memset(out.p, 0, (size_t)(dims[0] * dims[1] * plane) * sizeof(double));
    for (int64_t c = 0; c < dims[0] * dims[1]; c++) {
        int64_t tap[GI_WINDOW_MAX] = { 0 };
        for (int64_t k = 0; k < taps; k++) {
            add_tap(&w, tap, x + (c * taps + k) * t->dims[2], (double *)out.p + c * plane);
            for (int d = w.n - 1; d >= 0 && ++tap[d] == w.kernel[d]; d--)
                tap[d] = 0;
        }
    }
    gi_real_store(&out);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/vision.def"
