/* Reading a window's geometry from a node (see window.h). */
#include "backend/cpu/window.h"

static int64_t at_or(const gi_node *n, int at, uint32_t i, uint32_t count, int64_t otherwise)
{
    const int64_t *v;
    if (at < 0 || gi_attr_ints(n, at, &v) != count)
        return otherwise;
    return v[i];
}

bool gi_window_of(const gi_node *n, const gi_value *x, const gi_value *y, int at_auto_pad, int at_pads, int at_strides,
                  int at_dilations, uint32_t n_kernel, const int64_t *kernel, gi_window *w)
{
    int rx, ry;
    int64_t dx[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    if (!gi_cpu_static_f32(x, &rx, dx) || !gi_cpu_static_f32(y, &ry, dy) || rx != ry || (rx != 3 && rx != 4) ||
        n_kernel != (uint32_t)rx - 2 || gi_product(0, rx, dx) <= 0 || gi_product(0, ry, dy) <= 0)
        return false;
    const uint32_t sp = n_kernel;
    int64_t k[2] = { 1, 1 }, s[2] = { 1, 1 }, d[2] = { 1, 1 }, in[2] = { 1, 1 }, out[2] = { 1, 1 }, pad[2] = { 0, 0 };
    const char *mode = gi_attr_str(n, at_auto_pad);
    const bool upper = mode && !strcmp(mode, "SAME_UPPER"), lower = mode && !strcmp(mode, "SAME_LOWER");
    const bool valid = mode && !strcmp(mode, "VALID");
    for (uint32_t i = 0; i < sp; i++) {
        const uint32_t to = i + 2 - sp;
        k[to] = kernel[i];
        s[to] = at_or(n, at_strides, i, sp, 1);
        d[to] = at_or(n, at_dilations, i, sp, 1);
        in[to] = dx[2 + i];
        out[to] = dy[2 + i];
        if (k[to] < 1 || s[to] < 1 || d[to] < 1 || k[to] > 4096 || s[to] > 4096 || d[to] > 4096)
            return false;
        const int64_t total = gi_max_i64(0, (out[to] - 1) * s[to] + (k[to] - 1) * d[to] + 1 - in[to]);
        pad[to] = upper ? total / 2 : lower ? total - total / 2 : valid ? 0 : at_or(n, at_pads, i, 2 * sp, 0);
        if (pad[to] < 0 || pad[to] > 65536 || in[to] > 1 << 24 || out[to] > 1 << 24)
            return false;
    }
    *w = (gi_window){ .n = dx[0],
                      .c = dx[1],
                      .ih = in[0],
                      .iw = in[1],
                      .oc = dy[1],
                      .oh = out[0],
                      .ow = out[1],
                      .kh = k[0],
                      .kw = k[1],
                      .sh = s[0],
                      .sw = s[1],
                      .dh = d[0],
                      .dw = d[1],
                      .pt = pad[0],
                      .pl = pad[1] };
    return dx[0] == dy[0];
}
