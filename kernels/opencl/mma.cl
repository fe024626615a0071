/* Products and convolutions on NVIDIA's GPUs, by what ptx.cl defines. What is computed, and the arguments, are those of
 * tile.cl.
 *
 * A work-group makes BM pixels by BN channels, as tile_mma.cl, which stands before it, brings them. Places of chunks are
 * exclusive-ored with the row so that a warp meets no bank twice. Halves (CHUNK is 8) and, where TF32 is 1, floats that
 * are rounded to tf32 are multiplied by tensor cores; other floats by each item for itself, for the same elements of the
 * tile that a tensor core would leave in its registers. Few tiles are split along the sum (`splits`): each part leaves its sums in `parts`, and the group that comes last adds them up in order,
 * so the result does not depend on who that is. Where HALO is 1 the sums of a tile come from halo.cl, which stands behind
 * it: `steps` are blocks of channels then. Defined before it: X_TYPE, CHUNK, TF32, HALO, BM, BN, BK, ST, WAIT (ST - 2),
 * WARPS_M, WARPS_N, PASSES of the way out, LOCAL_BYTES. */
#define OUT_ROW (BN + 4) /* floats */
#if TF32
#define MULTIPLY multiply_tf32
#else
#define MULTIPLY multiply
#endif
#define TURNS ((BM / PASSES * BN / 8 + NT - 1) / NT) /* of the way out, in a pass */
#define KEEPS (PASSES == 1 && TURNS <= CHUNK / 2 && RESIDUALS > 0)
/* Residuals of a pass are loaded together: one after the other, waiting for them would take as long as the products. */
#define KEEPS_PASS (!KEEPS && RESIDUALS > 0 && TURNS * RESIDUALS <= CHUNK)

/* Of 4 elements, in order. The loads of 4 or 8 parts are under way together: one after the other, waiting for them
 * would take as long as the products. */
INLINE float4 sum_of_parts(__global const float4 *p, int splits, int step)
{
    float4 v = 0.0f;
    for (int s = 0; s < splits; s += 8) {
        const int last = splits - s - 1;
        float4 part[8];
        UNROLL
        for (int k = 0; k < 4; k++)
            part[k] = load_part(p + (long)(s + min(k, last)) * step);
        if (last >= 4) {
            UNROLL
            for (int k = 4; k < 8; k++)
                part[k] = load_part(p + (long)(s + min(k, last)) * step);
        }
        UNROLL
        for (int k = 0; k < 8; k++)
            if (k <= last)
                v += part[k];
    }
    return v;
}

#if HALO
#define HALO_ARGS , const long patch_
#define STEPS ((chunks + CHUNKS - 1) / CHUNKS)
INLINE void sum_halo(float (*const acc)[NI][4], ADDRESS const sm, const int tid, const int m0, const int wm,
                     const int wn, __global const X_TYPE *x, __global const X_TYPE *w, const int first,
                     const int count, const int m_all, const int chunks, const int row, const int h, const int wd,
                     const int pixels, const int ow, const int ph, const int pw, const int patch,
                     const long by_pixels, const long by_ow EXCHANGE_ARGS);
#else
#define HALO_ARGS
#define STEPS (row / BK)
#endif

__kernel GROUP_SIZE(NT, 1, 1) void
product_mma(PRODUCT_ARGS HALO_ARGS WALK_ARGS)
{
    LOCAL(float, room, LOCAL_BYTES / 4);
    EXCHANGE(NT, LOCAL_BYTES)
    const int m_all = m_all_, n_all = n_all_, n_room = n_room_, chunks = chunks_, taps = taps_, row = row_, h = h_,
              wd = wd_, pixels = pixels_, ow = ow_, kw = kw_, dh = dh_, dw = dw_, splits = splits_,
              tiles_n = tiles_n_;
    ADDRESS const sm = ADDRESS_OF(room);
    const int tid = get_local_id(0), lane = tid & 31, warp = tid >> 5, wm = warp / WARPS_N, wn = warp % WARPS_N;
    const int unit = get_group_id(0), tile = divide(unit, by_splits), part = unit - tile * splits;
    const int mt = divide(tile, by_tiles), nt = tile - mt * tiles_n, steps = STEPS;
    const int first = divide(steps * part, by_splits), count = divide(steps * (part + 1), by_splits) - first;
#if !HALO
    const int ch = tid % CHUNKS, r0 = tid / CHUNKS;
    ADDRESS const to = sm + r0 * ROW + ((ch ^ SWIZZLE(r0)) << 4);

    /* where this item's rows begin, and the chunk that it loads next */
    int base[RA], iy[RA], ix[RA];
    PLACE_ROWS(mt)
    const int q = first * CHUNKS + ch;
    int tap = divide(q, by_chunks), c = q - tap * chunks, ty = divide(tap, by_kw), tx = tap - ty * kw;
    __global const X_TYPE *xs = x + x_at, *ws = w + w_at + (long)(nt * BN + r0) * row + q * CHUNK;


    /* Weights are there before what other kernels make. */
#pragma unroll
    for (int s = 0; s < AHEAD; s++)
        if (s < count)
            LOAD_WEIGHTS(s * STAGE)
    BEFORE_READING();
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        if (s < count)
            LOAD_PIXELS(s * STAGE)
        COMMIT();
    }
#endif
    /* What the way out adds: the same 8 channels in each turn; residuals now, or brought nearer. */
    float shift[8];
    const int n8 = nt * BN + tid % (BN / 8) * 8;
    vstore4(*(__global const float4 *)(bias + bias_at + n8), 0, shift);
    vstore4(*(__global const float4 *)(bias + bias_at + n8 + 4), 1, shift);
#define KEEP_ALL(pass)                                                                                               \
    _Pragma("unroll") for (int k = 0; k < TURNS; k++)                                                                \
    {                                                                                                                \
        const int r = (k * NT + tid) / (BN / 8), m = mt * BM + (pass) * (BM / PASSES) + r;                           \
        const int image = divide(m, by_pixels);                                                                      \
        if (r < BM / PASSES && m < m_all && n8 < n_room) {                                                           \
            KEEP_RESIDUALS(k, image * y_n + (m - image * pixels) * y_p + n8)                                         \
        }                                                                                                            \
    }
#if KEEPS
    KEPT kept[TURNS][RESIDUALS];
    if (splits == 1)
        KEEP_ALL(0)
#else
    if (splits == 1) /* 64 bytes by every fourth item, or second of floats */
        for (int id = tid * (CHUNK / 2); id < BM * BN / 8; id += NT * (CHUNK / 2)) {
            const int m = mt * BM + id / (BN / 8), n = nt * BN + id % (BN / 8) * 8, image = divide(m, by_pixels);
            if (m < m_all && n < n_room) {
                PREFETCH_RESIDUALS(image * y_n + (m - image * pixels) * y_p + n)
            }
        }
#endif
    float acc[MI][NI][4];
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NI; j++)
            acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0.0f;
#if HALO
    sum_halo(acc, sm, tid, mt * BM, wm, wn, x + x_at, w + w_at + (long)(nt * BN) * row, first, count, m_all, chunks, row,
             h, wd, pixels, ow, (int)ph_, (int)pw_, (int)patch_, by_pixels, by_ow EXCHANGE_PASS);
#else
#if CHUNK == 8 || TF32
    ADDRESS const ra = sm + (wm * WM + (lane & 15)) * ROW;
#if NI > 1 /* 16 channels by 16 elements of the sum, or 8 by 32 */
    ADDRESS const rb = sm + BM * ROW + (wn * WN + (lane & 7) + ((lane >> 4) << 3)) * ROW;
    const uint hb = (lane >> 3) & 1;
#else
    ADDRESS const rb = sm + BM * ROW + (wn * WN + (lane & 7)) * ROW;
    const uint hb = lane >> 3;
#endif
    const uint sw = SWIZZLE(lane & 7), ha = lane >> 4;
#else
    const int g = lane >> 2, two = (lane & 3) * 2; /* rows g and g + 8 of 16, columns two and two + 1 of 8 */
    ADDRESS const ra = sm + (wm * WM + g) * ROW;
    ADDRESS const rb = sm + BM * ROW + (wn * WN + two) * ROW;
#endif
    uint now = 0, next = AHEAD * STAGE;
    for (int k = 0; k < count; k++) {
        WAIT_FOR(WAIT);
        BARRIER();
        if (k + AHEAD < count) {
            LOAD_WEIGHTS(next)
            LOAD_PIXELS(next)
        }
        COMMIT();
        next = next + STAGE == ST * STAGE ? 0 : next + STAGE;
#if CHUNK == 8 || TF32
        uint b[(NI + 1) / 2][4];
        UNROLL
        for (int kk = 0; kk < CHUNKS / 2; kk++) {
            uint a[MI][4];
            UNROLL
            for (int i = 0; i < MI; i++)
                load_matrix(a[i], ra + now + i * 16 * ROW + (((kk * 2 + ha) ^ sw) << 4));
#if TF32
            UNROLL
            for (int i = 0; i < MI * 4; i++) /* weights are rounded when they are packed */
                a[i / 4][i % 4] = to_tf32(a[i / 4][i % 4]);
#endif
#if NI > 1
            UNROLL
            for (int j = 0; j < NI / 2; j++)
                load_matrix(b[j], rb + now + j * 16 * ROW + (((kk * 2 + hb) ^ sw) << 4));
            UNROLL
            for (int i = 0; i < MI; i++)
                UNROLL
                for (int j = 0; j < NI; j++)
                    MULTIPLY(acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
#else
            if (kk % 2 == 0)
                load_matrix(b[0], rb + now + (((kk * 2 + hb) ^ sw) << 4));
            UNROLL
            for (int i = 0; i < MI; i++)
                MULTIPLY(acc[i][0], a[i], b[0][kk % 2 * 2], b[0][kk % 2 * 2 + 1]);
#endif
        }
#else
        UNROLL
        for (int kk = 0; kk < CHUNKS; kk++) {
            float a[MI * 2][4];
            UNROLL
            for (int i = 0; i < MI * 2; i++)
                vstore4(load_local(ra + now + i * 8 * ROW + ((kk ^ SWIZZLE(g)) << 4)), 0, a[i]);
            UNROLL
            for (int j = 0; j < NI; j++) {
                float b[2][4];
                vstore4(load_local(rb + now + j * 8 * ROW + ((kk ^ SWIZZLE(two)) << 4)), 0, b[0]);
                vstore4(load_local(rb + now + (j * 8 + 1) * ROW + ((kk ^ SWIZZLE(two + 1)) << 4)), 0, b[1]);
                UNROLL
                for (int e = 0; e < 4; e++)
                    UNROLL
                    for (int i = 0; i < MI * 4; i++)
                        acc[i / 4][j][i % 4] += a[i / 2][e] * b[i % 2][e];
            }
        }
#endif
        now = now + STAGE == ST * STAGE ? 0 : now + STAGE;
    }
#endif
    WAIT_FOR(0);
    BARRIER();

    if (splits > 1) {
        __global float4 *mine = parts + parts_at + (long)tile * splits * (MI * NI * NT) + tid;
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NI; j++)
                store_part(mine + ((long)part * MI * NI + i * NI + j) * NT, acc[i][j]);
#if defined(IN_WALK)
        /* All parts are at work: each finishes its share of the tile. */
        const int all = MI * NI * NT, begin = divide(all * part, by_splits) + tid, end = divide(all * (part + 1), by_splits);
#if RESIDUALS > 0
        KEPT_PAIR pair[2][RESIDUALS];
#endif
        float2 two;
#define PLACE_OF(slot)                                                                                               \
    const int ij = (slot) / NT, t = (slot) % NT, l = t & 31, wp = t >> 5;                                            \
    const int n = nt * BN + wp % WARPS_N * WN + ij % NI * 8 + (l & 3) * 2;                                           \
    const int m = mt * BM + wp / WARPS_N * WM + ij / NI * 16 + (l >> 2);                                             \
    const int image0 = divide(m, by_pixels), image1 = divide(m + 8, by_pixels);                                      \
    const ulong at0 = image0 * y_n + (m - image0 * pixels) * y_p + n * y_c,                                          \
                at1 = image1 * y_n + (m + 8 - image1 * pixels) * y_p + n * y_c;
#define GATHER()                                                                                                     \
    {                                                                                                                \
        two = *(__global const float2 *)(bias + bias_at + n);                                                        \
        if (m < m_all && n < n_room) {                                                                               \
            KEEP_PAIRS(0, at0)                                                                                       \
        }                                                                                                            \
        if (m + 8 < m_all && n < n_room) {                                                                           \
            KEEP_PAIRS(1, at1)                                                                                       \
        }                                                                                                            \
    }
        if (begin < end) {
            PLACE_OF(begin)
            GATHER()
        }
        BARRIER();
        if (tid == 0) {
            walk_arrive(counts + counts_at + tile);
            walk_until(counts + counts_at + tile, splits * (walk_epoch + 1), walk_counts);
        }
        BARRIER();
        for (int slot = begin; slot < end; slot += NT) {
            PLACE_OF(slot)
            if (slot != begin)
                GATHER()
            const float4 v = sum_of_parts(parts + parts_at + (long)tile * splits * all + slot, splits, all);
#pragma unroll
            for (int k = 0; k < 2; k++) {
                const ulong at = k ? at1 : at0;
                if (m + k * 8 >= m_all || n >= n_room)
                    continue;
                UNPACK_PAIRS(k)
                const float a = n < n_all ? EPILOGUE((k ? v.z : v.x) + two.x, 0, n) : 0.0f;
                const float b = n + 1 < n_all ? EPILOGUE((k ? v.w : v.y) + two.y, 1, n + 1) : 0.0f;
#ifdef Y_VECTOR
                STORE2((float2)(a, b), y + y_at + at);
#else
                STORE(a, y, y_at + at);
                if (n + 1 < n_room)
                    STORE(b, y, y_at + at + y_c);
#endif
            }
        }
        return;
#endif
        BARRIER();
        if (tid == 0)
            *(__local uint *)room = arrive(counts + counts_at + tile) == (uint)splits - 1;
        BARRIER();
        if (!*(__local const uint *)room)
            return;
        if (tid == 0)
            counts[counts_at + tile] = 0;
#if KEEPS
        KEEP_ALL(0)
#endif
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NI; j++) {
                const float4 v = sum_of_parts(mine + (i * NI + j) * NT, splits, MI * NI * NT);
                acc[i][j][0] = v.x;
                acc[i][j][1] = v.y;
                acc[i][j][2] = v.z;
                acc[i][j][3] = v.w;
            }
    }

    /* through local memory, so that an item has 8 neighbouring channels */
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
        if (wm / (WARPS_M / PASSES) == pass) {
            ADDRESS const at =
                sm + (((wm % (WARPS_M / PASSES)) * WM + (lane >> 2)) * OUT_ROW + wn * WN + (lane & 3) * 2) * 4;
#pragma unroll
            for (int i = 0; i < MI; i++)
#pragma unroll
                for (int j = 0; j < NI; j++) {
                    store_local(at + (i * 16 * OUT_ROW + j * 8) * 4, acc[i][j][0], acc[i][j][1]);
                    store_local(at + ((i * 16 + 8) * OUT_ROW + j * 8) * 4, acc[i][j][2], acc[i][j][3]);
                }
        }
#if KEEPS_PASS
        KEPT kept[TURNS][RESIDUALS];
        KEEP_ALL(pass)
#endif
        BARRIER();
#pragma unroll
        for (int k = 0; k < TURNS; k++) {
            const int id = k * NT + tid, r = id / (BN / 8), n = n8;
            const int m = mt * BM + pass * (BM / PASSES) + r;
            if (r >= BM / PASSES || m >= m_all || n >= n_room)
                continue;
            const int image = divide(m, by_pixels), p = m - image * pixels;
            const ulong at = image * y_n + p * y_p + n * y_c;
#if KEEPS || KEEPS_PASS
            UNPACK_RESIDUALS(k)
#else
            LOAD_RESIDUALS(at)
#endif
            float v[8];
            vstore4(load_local(sm + (r * OUT_ROW + id % (BN / 8) * 8) * 4), 0, v);
            vstore4(load_local(sm + (r * OUT_ROW + id % (BN / 8) * 8 + 4) * 4), 1, v);
#pragma unroll
            for (int e = 0; e < 8; e++)
                v[e] = n + e < n_all ? EPILOGUE(v[e] + shift[e], e, n + e) : 0.0f;
#ifdef Y_VECTOR
            STORE8(vload8(0, v), y + y_at + at, 0);
#else
            for (int e = 0; e < 8; e++)
                if (n + e < n_room)
                    STORE(v[e], y, y_at + at + e * y_c);
#endif
        }
        if (pass + 1 < PASSES)
            BARRIER();
    }
}
