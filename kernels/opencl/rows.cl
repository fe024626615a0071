/* Work along one dimension of [outer, n, inner]: G items a row (64, or as defined before it), striding over it and meeting
 * in local memory, SIDE rows a work-group. Items behind the last of `rows` compute it once more, since all of a group
 * meet, and write nothing. Rows are numbered outer by inner; row r lies at r / inner * x_outer + r % inner * x_inner,
 * its elements x_step apart, and likewise in the result. X_TYPE, Y_TYPE, LOAD and STORE are defined before it: floats or
 * halves. */
#ifndef G
#define G 64
#endif
#define SIDE (256 / G)

/* mode 0: sum, 1: maximum. All items get the answer. */
static float meet(float v, __local float *part, const int mode)
{
    const int t = get_local_id(0) % G;
    part += get_local_id(0) - t;
    part[t] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = G / 2; k > 0; k /= 2) {
        if (t < k)
            part[t] = mode == 0 ? part[t] + part[t + k] : fmax(part[t], part[t + k]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float all = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return all;
}

/* y = exp(x - max) / sum of it, or its logarithm. */
__kernel GROUP_SIZE(256, 1, 1) void
softmax(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, const ulong y_at, const long n,
        const long inner, const long x_outer, const long x_inner, const long x_step, const long y_outer,
        const long y_inner, const long y_step, const long logarithm, const long rows WALK_ARGS)
{
    LOCAL(float, part, 256);
    const long unit = get_group_id(0) * SIDE + get_local_id(0) / G, row = min(unit, rows - 1);
    const int t = get_local_id(0) % G;
    x += x_at + row / inner * x_outer + row % inner * x_inner;
    y += y_at + row / inner * y_outer + row % inner * y_inner;
    float top = -INFINITY, sum = 0.0f;
    for (long i = t; i < n; i += G)
        top = fmax(top, LOAD(x, i * x_step));
    top = meet(top, part, 1);
    for (long i = t; i < n; i += G)
        sum += exp(LOAD(x, i * x_step) - top);
    sum = meet(sum, part, 0);
    for (long i = t; i < n && unit < rows; i += G) {
        const float e = LOAD(x, i * x_step) - top;
        STORE(logarithm ? e - log(sum) : exp(e) / sum, y, i * y_step);
    }
}

/* mode 0: sum, 1: mean, 2: maximum, 3: minimum, 4: sum of squares, 5: its root. */
__kernel GROUP_SIZE(256, 1, 1) void
reduce(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, const ulong y_at, const long n,
       const long inner, const long x_outer, const long x_inner, const long x_step, const long y_outer,
       const long y_inner, const long y_step, const long mode, const long rows WALK_ARGS)
{
    LOCAL(float, part, 256);
    const long unit = get_group_id(0) * SIDE + get_local_id(0) / G, row = min(unit, rows - 1);
    const int t = get_local_id(0) % G;
    x += x_at + row / inner * x_outer + row % inner * x_inner;
    y += y_at + row / inner * y_outer + row % inner * y_inner;
    const bool extreme = mode == 2 || mode == 3;
    float v = extreme ? -INFINITY : 0.0f;
    for (long i = t; i < n; i += G) {
        const float e = LOAD(x, i * x_step);
        if (extreme)
            v = fmax(v, mode == 3 ? -e : e);
        else
            v += mode >= 4 ? e * e : e;
    }
    v = meet(v, part, extreme);
    if (t == 0 && unit < rows)
        STORE(mode == 1 ? v / (float)n : mode == 3 ? -v : mode == 5 ? sqrt(v) : v, y, 0);
}

/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias over rows of n neighbouring elements. */
__kernel GROUP_SIZE(256, 1, 1) void
layer_norm(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, const ulong y_at,
           __global const float *scale, const ulong scale_at, __global const float *bias, const ulong bias_at,
           const long n, const long has_bias, const long epsilon_bits, const long rows WALK_ARGS)
{
    LOCAL(float, part, 256);
    const long unit = get_group_id(0) * SIDE + get_local_id(0) / G, row = min(unit, rows - 1);
    const int t = get_local_id(0) % G;
    x += x_at + row * n;
    y += y_at + row * n;
    float sum = 0.0f;
    for (int i = t; i < n; i += G)
        sum += LOAD(x, i);
    const float mean = meet(sum, part, 0) / (float)n;
    sum = 0.0f;
    for (int i = t; i < n; i += G) {
        const float d = LOAD(x, i) - mean;
        sum += d * d;
    }
    const float inverse = 1.0f / sqrt(meet(sum, part, 0) / (float)n + as_float((int)epsilon_bits));
    for (int i = t; i < n && unit < rows; i += G)
        STORE((LOAD(x, i) - mean) * inverse * scale[scale_at + i] + (has_bias ? bias[bias_at + i] : 0.0f), y, i);
}
