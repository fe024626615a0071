/* attention.cl on the tensor cores of NVIDIA's GPUs, in halves with float sums (ptx.cl before it).
 *
 * A warp makes 16 rows: its queries stay in registers, keys and values come through local memory in ST stages, rows
 * padded by 16 bytes so that ldmatrix meets no bank twice. WARPS_M warps have rows of their own; of WARPS_K beside each
 * other each takes BN keys of a stage, and at the end their sums are brought to one maximum and added: for few rows.
 * The scores of a stage leave mma.sync in the registers in which it wants the probabilities. Elements of a row lie side
 * by side, all strides and D and DV are multiples of 8. Defined before: what attention.cl wants, and BN, ST, WARPS_M,
 * WARPS_K, LOCAL_BYTES, MASKS (whether there is more than a scale). */
#define NT (32 * WARPS_M * WARPS_K)
#define ROWS (16 * WARPS_M)
#define KD ((D + 15) / 16)
#define VD ((DV + 15) / 16)
#define K_LINE (KD * 32 + 16)
#define V_LINE (VD * 32 + 16)
#define KEYS (WARPS_K * BN)
#define STAGE (KEYS * (K_LINE + V_LINE))
#define O_LINE (VD * 16 + 4) /* floats */
#define STAGES ((N + KEYS - 1) / KEYS)
#define LOG2E 1.4426950408889634f
#define LEAST -1e30f

/* Of the four items that share a row. */
INLINE float most_of_row(float x EXCHANGE_ARGS)
{
    x = fmax(x, shuffle_xor(x, 1));
    return fmax(x, shuffle_xor(x, 2));
}

INLINE float sum_of_row(float x EXCHANGE_ARGS)
{
    x += shuffle_xor(x, 1);
    return x + shuffle_xor(x, 2);
}

__kernel GROUP_SIZE(NT, 1, 1) void
attention_mma(__global const half *q, const ulong q_at, __global const half *k, const ulong k_at,
              __global const half *v, const ulong v_at, __global Y_TYPE *y, const ulong y_at MASK_ARGS WALK_ARGS)
{
    LOCAL(float, room, LOCAL_BYTES / 4);
    EXCHANGE(NT, LOCAL_BYTES)
    ADDRESS const sm = ADDRESS_OF(room);
    const int tid = get_local_id(0), lane = tid & 31, warp = tid >> 5, wm = warp / WARPS_K, wk = warp % WARPS_K;
    const int blocks = (M + ROWS - 1) / ROWS, z = get_group_id(0) / blocks, block = get_group_id(0) % blocks;
    const int r0 = block * ROWS + wm * 16 + (lane >> 2), r1 = r0 + 8, c0 = (lane & 3) * 2;
    __global const half *ks = k + k_at + K_AT(z), *vs = v + v_at + V_AT(z), *qs = q + q_at + Q_AT(z);

#define LOAD_STAGE(b)                                                                                                \
    {                                                                                                                \
        ADDRESS const to = sm + (b) % ST * STAGE;                                                                    \
        for (int id = tid; id < KEYS * KD * 2; id += NT) {                                                           \
            const int r = id / (KD * 2), c = id % (KD * 2), key = (b)*KEYS + r;                                      \
            const bool in = key < N && c * 8 < D;                                                                    \
            copy16z(to + r * K_LINE + c * 16, ks + (in ? (long)key * K_ROW + c * 8 : 0L), in ? 16 : 0);              \
        }                                                                                                            \
        for (int id = tid; id < KEYS * VD * 2; id += NT) {                                                           \
            const int r = id / (VD * 2), c = id % (VD * 2), key = (b)*KEYS + r;                                      \
            const bool in = key < N && c * 8 < DV;                                                                   \
            copy16z(to + KEYS * K_LINE + r * V_LINE + c * 16, vs + (in ? (long)key * V_ROW + c * 8 : 0L),            \
                    in ? 16 : 0);                                                                                    \
        }                                                                                                            \
    }

    BEFORE_READING();
    LOAD_STAGE(0)
    COMMIT();
    uint a[KD][4];
#pragma unroll
    for (int i = 0; i < KD; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int r = e & 1 ? r1 : r0, c = i * 16 + (e >> 1) * 8 + c0;
            a[i][e] = r < M && c < D ? *(__global const uint *)(qs + (long)r * Q_ROW + c) : 0;
        }
    float o[VD * 2][4], top0 = -INFINITY, top1 = -INFINITY, sum0 = 0.0f, sum1 = 0.0f;
#pragma unroll
    for (int j = 0; j < VD * 2; j++)
        o[j][0] = o[j][1] = o[j][2] = o[j][3] = 0.0f;

    for (int b = 0; b < STAGES; b++) {
        WAIT_FOR(0);
        BARRIER();
#if ST > 1
        if (b + 1 < STAGES)
            LOAD_STAGE(b + 1)
        COMMIT();
#endif
        ADDRESS const at = sm + b % ST * STAGE;
        ADDRESS const rk = at + (wk * BN + (lane & 7) + ((lane >> 4) << 3)) * K_LINE + ((lane >> 3) & 1) * 16;
        ADDRESS const rv = at + KEYS * K_LINE + (wk * BN + (lane & 15)) * V_LINE + (lane >> 4) * 16;
        float s[BN / 8][4];
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
            s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
        UNROLL
        for (int i = 0; i < KD; i++)
            UNROLL
            for (int j = 0; j < BN / 16; j++) {
                uint m[4];
                load_matrix(m, rk + j * 16 * K_LINE + i * 32);
                multiply(s[2 * j], a[i], m[0], m[1]);
                multiply(s[2 * j + 1], a[i], m[2], m[3]);
            }

        float m0 = top0, m1 = top1;
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int key = b * KEYS + wk * BN + j * 8 + c0 + (e & 1);
                float x = s[j][e];
#if MASKS
                const int row = min(e < 2 ? r0 : r1, M - 1), column = min(key, N - 1);
                x = MASKED(x * SCALE, z, row, column) * LOG2E;
                x = x < LEAST ? LEAST : x;
#else
                x *= SCALE * LOG2E;
#endif
                if (N % KEYS != 0 && key >= N)
                    x = -INFINITY;
                s[j][e] = x;
                if (e < 2)
                    m0 = fmax(m0, x);
                else
                    m1 = fmax(m1, x);
            }
        m0 = most_of_row(m0 EXCHANGE_PASS);
        m1 = most_of_row(m1 EXCHANGE_PASS);
        /* a warp whose keys are all behind the last has no maximum yet */
        const float b0 = m0 == -INFINITY ? 0.0f : m0, b1 = m1 == -INFINITY ? 0.0f : m1;
        const float f0 = exp2_fast(top0 - b0), f1 = exp2_fast(top1 - b1);
        top0 = m0;
        top1 = m1;
        sum0 *= f0;
        sum1 *= f1;
#pragma unroll
        for (int j = 0; j < VD * 2; j++) {
            o[j][0] *= f0;
            o[j][1] *= f0;
            o[j][2] *= f1;
            o[j][3] *= f1;
        }
        UNROLL
        for (int i = 0; i < BN / 16; i++) {
            uint p[4];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float *x = s[2 * i + h];
                x[0] = exp2_fast(x[0] - b0);
                x[1] = exp2_fast(x[1] - b0);
                x[2] = exp2_fast(x[2] - b1);
                x[3] = exp2_fast(x[3] - b1);
                sum0 += x[0] + x[1];
                sum1 += x[2] + x[3];
                p[2 * h] = to_halves(x[0], x[1]);
                p[2 * h + 1] = to_halves(x[2], x[3]);
            }
            UNROLL
            for (int j = 0; j < VD; j++) {
                uint m[4];
                load_matrix_turned(m, rv + i * 16 * V_LINE + j * 32);
                multiply(o[2 * j], p, m[0], m[1]);
                multiply(o[2 * j + 1], p, m[2], m[3]);
            }
        }
#if ST == 1
        if (b + 1 < STAGES) {
            BARRIER();
            LOAD_STAGE(b + 1)
            COMMIT();
        }
#endif
    }
    WAIT_FOR(0);
    BARRIER();

    /* through local memory: warps of the same rows meet, and an item writes 8 neighbours */
    __local float *tops = room + WARPS_M * WARPS_K * 16 * O_LINE, *sums = tops + WARPS_M * WARPS_K * 16;
    {
        const int at = warp * 16 + (lane >> 2);
        sum0 = sum_of_row(sum0 EXCHANGE_PASS);
        sum1 = sum_of_row(sum1 EXCHANGE_PASS);
        if ((lane & 3) == 0) {
            tops[at] = top0;
            tops[at + 8] = top1;
            sums[at] = sum0;
            sums[at + 8] = sum1;
        }
#pragma unroll
        for (int j = 0; j < VD * 2; j++) {
            *(__local float2 *)(room + at * O_LINE + j * 8 + c0) = (float2)(o[j][0], o[j][1]);
            *(__local float2 *)(room + (at + 8) * O_LINE + j * 8 + c0) = (float2)(o[j][2], o[j][3]);
        }
    }
    BARRIER();
    for (int id = tid; id < ROWS * (DV / 8); id += NT) {
        const int r = id / (DV / 8), c = id % (DV / 8) * 8, row = block * ROWS + r;
        const int at = r / 16 * WARPS_K * 16 + r % 16;
        float top = tops[at], sum = 0.0f;
        float8 x = 0.0f;
        if (row >= M)
            continue;
#pragma unroll
        for (int w = 1; w < WARPS_K; w++)
            top = fmax(top, tops[at + w * 16]);
#pragma unroll
        for (int w = 0; w < WARPS_K; w++) {
            const float f = WARPS_K == 1 ? 1.0f : exp2_fast(tops[at + w * 16] - top);
            sum += sums[at + w * 16] * f;
            __local const float4 *part = (__local const float4 *)(room + (at + w * 16) * O_LINE + c);
            x += (float8)(part[0], part[1]) * f;
        }
        x *= OUT_SCALE / sum;
#if Y_HALF
        store_half8(x, y + y_at + Y_AT(z) + (ulong)row * Y_ROW + c);
#else
        store_float8(x, y + y_at + Y_AT(z) + (ulong)row * Y_ROW + c);
#endif
    }
}
