/* Products and convolutions of many pixels on NVIDIA's GPUs: what mma.cl computes of halves, without splitting sums, by as
 * many work-groups as are resident at once, each of which goes from tile to tile.
 *
 * What is loaded is one stream: while a group finishes a tile, the first elements of its next one are already on their way,
 * so that reading, multiplying and writing go on at the same time, also where a sum is so short that a tile is loaded at
 * once. Sums leave the registers without local memory: the four items that hold 8 neighbouring channels of a row
 * exchange them, so that each writes 16 bytes. Arguments are mma.cl's, and so is what is defined before it; tile_mma.cl
 * stands before it. */
#define PARTS (MI * 2 * (NI / 4)) /* 16 bytes each, of an item's results */
#define KEEPS (RESIDUALS > 0)

/* Of four items, each of which has 2 of 8 neighbours of four rows: `own` becomes 8 neighbours of one row each. */
INLINE void gather_row(float *own, int quarter EXCHANGE_ARGS)
{
    const bool odd = quarter & 1, upper = quarter & 2;
    float got[4];
    /* own[2 j] and own[2 j + 1] are of row j; first between neighbours, then between pairs of them */
    UNROLL
    for (int j = 0; j < 2; j++)
        UNROLL
        for (int e = 0; e < 2; e++) {
            const float give = odd ? own[j * 4 + e] : own[j * 4 + 2 + e];
            const float take = shuffle_xor(give, 1);
            if (odd)
                own[j * 4 + e] = take;
            else
                own[j * 4 + 2 + e] = take;
        }
    /* now own[4 j + 2 k ...]: of row 2 j + odd, the pair of item (upper, k) */
    UNROLL
    for (int e = 0; e < 4; e++) {
        const float give = upper ? own[e] : own[4 + e];
        got[e] = shuffle_xor(give, 2);
    }
    UNROLL
    for (int e = 0; e < 4; e++)
        if (upper)
            own[e] = got[e];
        else
            own[4 + e] = got[e];
}

__kernel GROUP_SIZE(NT, 1, 1) void
product_mma(PRODUCT_ARGS WALK_ARGS)
{
    LOCAL(float, room, LOCAL_BYTES / 4);
    EXCHANGE(NT, LOCAL_BYTES)
    const int m_all = m_all_, n_all = n_all_, n_room = n_room_, chunks = chunks_, taps = taps_, row = row_, h = h_,
              wd = wd_, pixels = pixels_, ow = ow_, kw = kw_, dh = dh_, dw = dw_, tiles_n = tiles_n_;
    ADDRESS const sm = ADDRESS_OF(room);
    const int tid = get_local_id(0), lane = tid & 31, warp = tid >> 5, wm = warp / WARPS_N, wn = warp % WARPS_N;
    const int count = row / BK, tiles = (m_all + BM - 1) / BM * tiles_n, streams = get_num_groups(0);
    const int ch = tid % CHUNKS, r0 = tid / CHUNKS;
    ADDRESS const to = sm + r0 * ROW + ((ch ^ SWIZZLE(r0)) << 4);

    /* what is loaded next: of which tile, where this item's rows begin there, and its chunk */
    int coming = get_group_id(0), left, base[RA], iy[RA], ix[RA], tap, c, ty, tx;
    __global const X_TYPE *const xs = x + x_at, *ws;
#define BEGIN_TILE()                                                                                                 \
    {                                                                                                                \
        const int mt_ = divide(coming, by_tiles), nt_ = coming - mt_ * tiles_n;                                      \
        PLACE_ROWS(mt_)                                                                                              \
        tap = divide(ch, by_chunks);                                                                                 \
        c = ch - tap * chunks;                                                                                       \
        ty = divide(tap, by_kw);                                                                                     \
        tx = tap - ty * kw;                                                                                          \
        ws = w + w_at + (long)(nt_ * BN + r0) * row + ch * CHUNK;                                                    \
        left = count;                                                                                                \
    }
#define LOAD_STAGE(at)                                                                                               \
    if (coming < tiles) {                                                                                            \
        LOAD_PIXELS(at)                                                                                              \
        LOAD_WEIGHTS(at)                                                                                             \
        if (--left == 0) {                                                                                           \
            coming += streams;                                                                                       \
            BEGIN_TILE()                                                                                             \
        }                                                                                                            \
    }
    BEGIN_TILE()
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        LOAD_STAGE(s * STAGE)
        COMMIT();
    }
    ADDRESS const ra = sm + (wm * WM + (lane & 15)) * ROW;
    ADDRESS const rb = sm + BM * ROW + (wn * WN + (lane & 7) + ((lane >> 4) << 3)) * ROW;
    const uint hb = (lane >> 3) & 1, sw = SWIZZLE(lane & 7), ha = lane >> 4;
    const int quarter = lane & 3;
    uint now = 0, next = AHEAD * STAGE;

    for (int tile = get_group_id(0); tile < tiles; tile += streams) {
        const int mt = divide(tile, by_tiles), nt = tile - mt * tiles_n;
        /* of this item: 8 channels of each PARTS */
        const int m0 = mt * BM + wm * WM + (lane >> 2), n0 = nt * BN + wn * WN + quarter * 8;
        ulong at_row[MI * 2];
#pragma unroll
        for (int i = 0; i < MI * 2; i++) {
            const int m = m0 + i * 8, image = divide(m, by_pixels);
            at_row[i] = image * y_n + (m - image * pixels) * y_p;
        }
#if KEEPS
        KEPT kept[PARTS][RESIDUALS];
#pragma unroll
        for (int k = 0; k < PARTS; k++)
            if (m0 + k / (NI / 4) * 8 < m_all && n0 + k % (NI / 4) * 32 < n_room) {
                KEEP_RESIDUALS(k, at_row[k / (NI / 4)] + n0 + k % (NI / 4) * 32)
            }
#endif
        float acc[MI][NI][4];
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
            for (int j = 0; j < NI; j++)
                acc[i][j][0] = acc[i][j][1] = acc[i][j][2] = acc[i][j][3] = 0.0f;

        for (int k = 0; k < count; k++) {
            WAIT_FOR(WAIT);
            BARRIER();
            LOAD_STAGE(next)
            COMMIT();
            next = next + STAGE == ST * STAGE ? 0 : next + STAGE;
            UNROLL
            for (int kk = 0; kk < CHUNKS / 2; kk++) {
                uint a[MI][4], b[NI / 2][4];
                UNROLL
                for (int i = 0; i < MI; i++)
                    load_matrix(a[i], ra + now + i * 16 * ROW + (((kk * 2 + ha) ^ sw) << 4));
                UNROLL
                for (int j = 0; j < NI / 2; j++)
                    load_matrix(b[j], rb + now + j * 16 * ROW + (((kk * 2 + hb) ^ sw) << 4));
                UNROLL
                for (int i = 0; i < MI; i++)
                    UNROLL
                    for (int j = 0; j < NI; j++)
                        multiply(acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
            }
            now = now + STAGE == ST * STAGE ? 0 : now + STAGE;
        }

        UNROLL
        for (int k = 0; k < PARTS; k++) {
            const int i = k / (NI / 4), j0 = k % (NI / 4) * 4, n = n0 + j0 * 8;
            float v[8];
            UNROLL
            for (int j = 0; j < 4; j++) {
                v[j * 2] = acc[i / 2][j0 + j][i % 2 * 2];
                v[j * 2 + 1] = acc[i / 2][j0 + j][i % 2 * 2 + 1];
            }
            gather_row(v, quarter EXCHANGE_PASS);
            if (m0 + i * 8 < m_all && n < n_room) {
                const ulong at = at_row[i] + n;
#if KEEPS
                UNPACK_RESIDUALS(k)
#else
                LOAD_RESIDUALS(at)
#endif
                const float4 low = *(__global const float4 *)(bias + bias_at + n),
                             high = *(__global const float4 *)(bias + bias_at + n + 4);
                float shift[8];
                vstore4(low, 0, shift);
                vstore4(high, 1, shift);
                UNROLL
                for (int e = 0; e < 8; e++)
                    v[e] = n + e < n_all ? EPILOGUE(v[e] + shift[e], e, n + e) : 0.0f;
                STORE8(vload8(0, v), y + y_at + at, 0);
            }
        }
    }
    WAIT_FOR(0);
}
