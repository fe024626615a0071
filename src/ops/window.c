/* Windows of convolutions and pooling: attributes, auto_pad, output sizes. */
#include "ops/window.h"

#include <stdio.h>

static const int64_t limit = INT32_MAX;             /* of an attribute's entry */
static const int64_t size_limit = INT64_C(1) << 48; /* of an input dimension */

__attribute__((format(printf, 2, 3))) static bool refuse(gi_window *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->why, sizeof w->why, fmt, args);
    va_end(args);
    return false;
}
#ifdef __clang_analyzer__ /* which does not follow it */
#define refuse(...) ((void)refuse(__VA_ARGS__), false)
#endif

static bool read_list(const gi_node *n, const char *name, int want, int64_t low, int64_t absent, int64_t *out,
                      gi_window *w)
{
    const gi_attr *at = gi_attr_find(n, name);
    if (!at || at->kind != GI_ATTR_INTS || at->n == 0) {
        for (int i = 0; i < want; i++)
            out[i] = absent;
        return true;
    }
    if (at->n != (uint32_t)want)
        return refuse(w, "attribute %s has %u entries, expected %d", name, at->n, want);
    for (int i = 0; i < want; i++) {
        out[i] = at->u.ints[i];
        if (out[i] < low || out[i] > limit)
            return refuse(w, "attribute %s holds %lld, expected %lld or more", name, (long long)out[i], (long long)low);
    }
    return true;
}

static bool read_auto_pad(const gi_node *n, gi_window *w)
{
    static const char *const names[] = { "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID" };
    const gi_attr *at = gi_attr_find(n, "auto_pad");
    w->auto_pad = GI_PAD_EXPLICIT;
    if (!at || at->kind != GI_ATTR_STRING || !at->u.s[0])
        return true;
    for (int i = 0; i < (int)GI_COUNT(names); i++)
        if (!strcmp(at->u.s, names[i])) {
            w->auto_pad = (gi_auto_pad)i;
            return true;
        }
    return refuse(w, "attribute auto_pad is \"%.40s\", expected NOTSET, SAME_UPPER, SAME_LOWER or VALID", at->u.s);
}

bool gi_window_read(const gi_node *n, int spatial, const int64_t *kernel, gi_window *w)
{
    int64_t pads[2 * GI_WINDOW_MAX];
    *w = (gi_window){ .n = spatial };
    if (spatial < 1 || spatial > GI_WINDOW_MAX)
        return refuse(w, "the input has %d spatial dimensions, expected 1 to %d", spatial, GI_WINDOW_MAX);
    if (!read_auto_pad(n, w) || !read_list(n, "kernel_shape", spatial, 1, -1, w->kernel, w) ||
        !read_list(n, "strides", spatial, 1, 1, w->stride, w) ||
        !read_list(n, "dilations", spatial, 1, 1, w->dilation, w) ||
        !read_list(n, "pads", 2 * spatial, -limit, 0, pads, w))
        return false;
    for (int i = 0; i < spatial; i++) {
        w->begin[i] = w->auto_pad == GI_PAD_EXPLICIT ? pads[i] : 0;
        w->end[i] = w->auto_pad == GI_PAD_EXPLICIT ? pads[spatial + i] : 0;
        const int64_t given = kernel ? kernel[i] : -1;
        if (w->kernel[i] < 0)
            w->kernel[i] = given;
        else if (given >= 0 && given != w->kernel[i])
            return refuse(w, "attribute kernel_shape holds %lld in place %d, the weights have %lld",
                          (long long)w->kernel[i], i, (long long)given);
        if (w->kernel[i] == 0 || w->kernel[i] > limit)
            return refuse(w, "the kernel is %lld wide in dimension %d", (long long)w->kernel[i], i);
    }
    const gi_attr *ceil_mode = gi_attr_find(n, "ceil_mode");
    w->ceil_mode = ceil_mode && ceil_mode->kind == GI_ATTR_INT && ceil_mode->u.i != 0;
    return true;
}

static int64_t extent(const gi_window *w, int i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

static bool place(gi_window *w, int i)
{
    const int64_t in = w->in[i], s = w->stride[i], ext = extent(w, i);
    if (w->kernel[i] < 1)
        return refuse(w, "the kernel's size in dimension %d is unknown", i);
    if (in < 0 || in > size_limit)
        return refuse(w, "spatial dimension %d is %lld", i, (long long)in);
    if (w->auto_pad == GI_PAD_SAME_UPPER || w->auto_pad == GI_PAD_SAME_LOWER) {
        w->out[i] = (in + s - 1) / s;
        const int64_t total = gi_max_i64((w->out[i] - 1) * s + ext - in, 0);
        w->begin[i] = w->auto_pad == GI_PAD_SAME_UPPER ? total / 2 : total - total / 2;
        w->end[i] = total - w->begin[i];
        return true;
    }
    const int64_t room = in + w->begin[i] + w->end[i] - ext;
    if (in == 0 && room < 0 && room + s >= 0) { /* nothing comes of nothing */
        w->out[i] = 0;
        return true;
    }
    if (room < 0)
        return refuse(w, "spatial dimension %d is %lld, too small for a window of %lld with pads %lld and %lld", i,
                      (long long)in, (long long)ext, (long long)w->begin[i], (long long)w->end[i]);
    w->out[i] = (w->ceil_mode ? room + s - 1 : room) / s + 1;
    /* A window that would start in the padding behind the input is left out. */
    if (w->ceil_mode && (w->out[i] - 1) * s >= in + w->begin[i])
        w->out[i]--;
    return true;
}

bool gi_window_place(gi_window *w, const int64_t *in)
{
    for (int i = 0; i < w->n; i++) {
        w->in[i] = in[i];
        if (!place(w, i))
            return false;
    }
    return true;
}

bool gi_window_of_conv(const gi_node *n, int rank, const int64_t *x, const int64_t *weights, gi_window *w)
{
    return gi_window_read(n, rank - 2, weights + 2, w) && gi_window_place(w, x + 2);
}

const gi_dim *gi_window_dim(gi_dims *t, gi_window *w, int i, const gi_dim *in)
{
    int64_t size;
    const int64_t s = w->stride[i];
    if (w->kernel[i] < 0)
        return gi_dim_unknown(t, true);
    if (gi_dim_is_const(in, &size)) {
        w->in[i] = size;
        return place(w, i) ? gi_dim_const(t, w->out[i]) : NULL;
    }
    const gi_dim *stride = gi_dim_const(t, s), *one = gi_dim_const(t, 1);
    if (!stride || !one)
        return NULL;
    if (w->auto_pad == GI_PAD_SAME_UPPER || w->auto_pad == GI_PAD_SAME_LOWER)
        return gi_dim_ceildiv(t, in, stride);
    const gi_dim *room = gi_dim_const(t, w->begin[i] + w->end[i] - extent(w, i));
    if (!room || !(room = gi_dim_add(t, in, room)))
        return NULL;
    const gi_dim *steps = w->ceil_mode ? gi_dim_ceildiv(t, room, stride) : gi_dim_floordiv(t, room, stride);
    const gi_dim *out = steps ? gi_dim_add(t, steps, one) : NULL;
    /* Windows that start before the padding behind the input: fewer only if the last stride can reach there. */
    if (out && w->ceil_mode && w->end[i] + s > extent(w, i)) {
        const gi_dim *begin = gi_dim_const(t, w->begin[i]);
        const gi_dim *starts = begin ? gi_dim_add(t, in, begin) : NULL;
        starts = starts ? gi_dim_ceildiv(t, starts, stride) : NULL;
        out = starts ? gi_dim_min(t, out, starts) : NULL;
    }
    return out;
}
