/* Work along one dimension of [outer, n, inner] in f32: a work-group of 64 a row, its items striding over it
 * and meeting in local memory. */
#define G 64

/* mode 0: sum, 1: maximum. All items get the answer. */
static float meet(float v, __local float *part, const int mode)
{
    const int t = get_local_id(0);
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
__kernel __attribute__((reqd_work_group_size(G, 1, 1))) void
softmax(__global const float *x, const ulong x_at, __global float *y, const ulong y_at, const long n,
        const long inner, const long logarithm)
{
    __local float part[G];
    const long row = get_group_id(0), at = row / inner * n * inner + row % inner;
    x += x_at + at;
    y += y_at + at;
    float top = -INFINITY, sum = 0.0f;
    for (long i = get_local_id(0); i < n; i += G)
        top = fmax(top, x[i * inner]);
    top = meet(top, part, 1);
    for (long i = get_local_id(0); i < n; i += G)
        sum += exp(x[i * inner] - top);
    sum = meet(sum, part, 0);
    for (long i = get_local_id(0); i < n; i += G)
        y[i * inner] = logarithm ? x[i * inner] - top - log(sum) : exp(x[i * inner] - top) / sum;
}

/* mode 0: sum, 1: mean, 2: maximum, 3: minimum, 4: sum of squares, 5: its root. */
__kernel __attribute__((reqd_work_group_size(G, 1, 1))) void
reduce(__global const float *x, const ulong x_at, __global float *y, const ulong y_at, const long n,
       const long inner, const long mode)
{
    __local float part[G];
    const long row = get_group_id(0);
    x += x_at + row / inner * n * inner + row % inner;
    const bool extreme = mode == 2 || mode == 3;
    float v = extreme ? -INFINITY : 0.0f;
    for (long i = get_local_id(0); i < n; i += G) {
        const float e = x[i * inner];
        if (extreme)
            v = fmax(v, mode == 3 ? -e : e);
        else
            v += mode >= 4 ? e * e : e;
    }
    v = meet(v, part, extreme);
    if (get_local_id(0) == 0)
        y[y_at + row] = mode == 1 ? v / (float)n : mode == 3 ? -v : mode == 5 ? sqrt(v) : v;
}
