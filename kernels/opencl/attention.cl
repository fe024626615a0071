/* softmax(q k^T * scale + masks) v for any device: an item makes a row of the result, sums in floats, the softmax
 * while it goes through the keys, so the scores are never written.
 *
 * Before it: G items a group, M rows, N keys, D and DV elements of a key and of a value, SCALE, OUT_SCALE; Q_AT(z),
 * K_AT, V_AT, Y_AT where entry z of the batch begins; strides Q_ROW, Q_E, K_ROW, K_E, V_ROW, V_E, Y_ROW, Y_E of rows and elements;
 * X_TYPEs and LOADs of q, k and v; MASK_ARGS and MASKED(x, z, row, key), what becomes of a score. Masks that reach below what a float or half
 * holds count as the least that still leaves a row of them its softmax. */
#define KEYS 16
#define LEAST -1e30f

__kernel GROUP_SIZE(G, 1, 1) void
attention(__global const Q_TYPE *q, const ulong q_at, __global const K_TYPE *k, const ulong k_at,
          __global const V_TYPE *v, const ulong v_at, __global Y_TYPE *y, const ulong y_at MASK_ARGS WALK_ARGS)
{
    LOCAL(float, kt, KEYS *(D + DV));
    __local float *const vt = kt + KEYS * D;
    const int blocks = (M + G - 1) / G, z = get_group_id(0) / blocks, t = get_local_id(0);
    const int row = min((int)get_group_id(0) % blocks * G + t, M - 1);
    const ulong qs = q_at + Q_AT(z) + (ulong)row * Q_ROW, ks = k_at + K_AT(z), vs = v_at + V_AT(z);
    float a[D], o[DV], top = -INFINITY, sum = 0.0f;
    for (int i = 0; i < D; i++)
        a[i] = LOAD_Q(q, qs + i * Q_E) * SCALE;
    for (int i = 0; i < DV; i++)
        o[i] = 0.0f;
    for (int first = 0; first < N; first += KEYS) {
        const int count = min(KEYS, N - first);
        float s[KEYS], most = top;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int i = t; i < count * D; i += G)
            kt[i] = LOAD_K(k, ks + (ulong)(first + i / D) * K_ROW + i % D * K_E);
        for (int i = t; i < count * DV; i += G)
            vt[i] = LOAD_V(v, vs + (ulong)(first + i / DV) * V_ROW + i % DV * V_E);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int j = 0; j < count; j++) {
            float x = 0.0f;
            for (int i = 0; i < D; i++)
                x += a[i] * kt[j * D + i];
            x = MASKED(x, z, row, first + j);
            s[j] = x < LEAST ? LEAST : x;
            most = fmax(most, s[j]);
        }
        const float before = exp(top - most);
        top = most;
        sum *= before;
        for (int i = 0; i < DV; i++)
            o[i] *= before;
        for (int j = 0; j < count; j++) {
            const float p = exp(s[j] - top);
            sum += p;
            for (int i = 0; i < DV; i++)
                o[i] += p * vt[j * DV + i];
        }
    }
    if ((int)get_group_id(0) % blocks * G + t >= M)
        return;
    const ulong ys = y_at + Y_AT(z) + (ulong)row * Y_ROW;
    for (int i = 0; i < DV; i++)
        STORE(o[i] / sum * OUT_SCALE, y, ys + i * Y_E);
}
