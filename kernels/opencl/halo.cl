/* What stands behind mma.cl where a convolution has stride 1: the sums of a tile, each pixel of x in local memory once for
 * all taps of a block of channels.
 *
 * The BM pixels of a tile follow each other in the result, over the ends of rows and images, so what their taps read is
 * one piece of x: the patch, `patch` pixels from the one on that the first tap of the first pixel reads. A tap is a
 * distance in it, and a row of a matrix for ldmatrix is any pixel of it; a pixel beyond the border is read from 128 bytes
 * of zeros. Weights come in stages of STAGE_TAPS taps by BK channels, ST deep, while they are multiplied, and so does the
 * next block's patch, in pieces; or it comes between the blocks, to where the last one was, while another group multiplies
 * (ONE_PATCH). Places of chunks are exclusive-ored as in mma.cl. Defined before it, beside what mma.cl has: KH, KW,
 * STAGE_TAPS (1, or KW), ONE_PATCH. */
#define WEIGHTS (STAGE_TAPS * BN * ROW) /* bytes of a stage */
#define ZEROS (ST * WEIGHTS)
#define PATCHES (ZEROS + 128)
#define BLOCK_STAGES (KH * KW / STAGE_TAPS)
#define PIECES (BLOCK_STAGES - ST + 2) /* stages in which there is time to ask for the next patch */
#define MOST_PIXELS ((LOCAL_BYTES - PATCHES) / 2 / ROW)
#define PIECE ((MOST_PIXELS + STEP * PIECES - 1) / (STEP * PIECES)) /* copies of an item */

INLINE void sum_halo(float (*const acc)[NI][4], ADDRESS const sm, const int tid, const int m0, const int wm,
                     const int wn, __global const X_TYPE *x, __global const X_TYPE *w, const int first,
                     const int count, const int m_all, const int chunks, const int row, const int h, const int wd,
                     const int pixels, const int ow, const int ph, const int pw, const int patch,
                     const long by_pixels, const long by_ow EXCHANGE_ARGS)
{
    const int lane = tid & 31, ch = tid % CHUNKS, r0 = tid / CHUNKS, place = r0 * ROW + ((ch ^ SWIZZLE(r0)) << 4);
    const int room = patch * ROW, all = divide(m_all, by_pixels) * h * wd, stages = count * BLOCK_STAGES;
    int origin;
    {
        const int image = divide(m0, by_pixels), p = m0 - image * pixels, oy = divide(p, by_ow);
        origin = (image * h + oy - ph) * wd + p - oy * ow - pw;
    }

    /* Of each row that this item names to ldmatrix: where it is in the patch, and a bit for each tap that is in the
     * image. */
    int at[MI];
    uint inside[MI];
    UNROLL
    for (int i = 0; i < MI; i++) {
        const int m = m0 + wm * WM + i * 16 + (lane & 15), image = divide(m, by_pixels), p = m - image * pixels;
        const int oy = divide(p, by_ow), iy = oy - ph, ix = p - oy * ow - pw;
        const int from = max(0, -ix), to = min(KW, wd - ix);
        const uint taps = m < m_all && from < to ? (1u << to) - (1u << from) : 0;
        at[i] = ((image * h + iy) * wd + ix - origin) * ROW + ((lane >> 4) << 4);
        inside[i] = 0;
        for (int ky = 0; ky < KH; ky++)
            inside[i] |= (uint)(iy + ky) < (uint)h ? taps << ky * KW : 0;
    }

    /* The chunks that this item loads next: of weights, and of the patch, of which `span` pixels from `least` on are in x
     * (`xs` may be ahead of it, where nothing is read). */
    const int least = max(0, -origin), span = min(patch, all - origin) - least, stride = STEP * chunks * CHUNK;
    int c = first * CHUNKS + ch, loaded = 0, pc = c, pixel = r0 - least, to = PATCHES + place;
    __global const X_TYPE *ws = w + (long)r0 * row + c * CHUNK;
    __global const X_TYPE *first_xs = x + (long)(origin + r0) * chunks * CHUNK + c * CHUNK, *xs = first_xs;
#define LOAD_WEIGHTS(slot)                                                                                           \
    {                                                                                                                \
        const uint bytes = c < chunks ? 16 : 0;                                                                      \
        _Pragma("unroll") for (int t = 0; t < STAGE_TAPS; t++)                                                       \
            _Pragma("unroll") for (int i = 0; i < (BN + STEP - 1) / STEP; i++)                                       \
                if (STEP <= BN || r0 < BN) copy16z(sm + (slot) + t * (BN * ROW) + i * (STEP * ROW) + place,                                     \
                        ws + (long)(i * STEP) * row + t * chunks * CHUNK, bytes);                                    \
        ws += STAGE_TAPS * chunks * CHUNK;                                                                           \
        if (++loaded == BLOCK_STAGES) {                                                                              \
            loaded = 0;                                                                                              \
            c += CHUNKS;                                                                                             \
            ws += (CHUNKS - KH * KW * chunks) * CHUNK;                                                               \
        }                                                                                                            \
    }
#define LOAD_PIXELS(n)                                                                                               \
    {                                                                                                                \
        const uint bytes = pc < chunks ? 16 : 0;                                                                     \
        _Pragma("unroll") for (int i = 0; i < (n); i++)                                                              \
        {                                                                                                            \
            if ((uint)(pixel + i * STEP) < (uint)span)                                                               \
                copy16z(sm + to + i * (STEP * ROW), xs, bytes);                                                      \
            xs += stride;                                                                                            \
        }                                                                                                            \
        pixel += (n)*STEP;                                                                                           \
        to += (n) * (STEP * ROW);                                                                                    \
    }

    if (tid < 16)
        store_local(sm + ZEROS + tid * 8, 0.0f, 0.0f);
    while (pixel < span)
        LOAD_PIXELS(4)
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        if (s < stages)
            LOAD_WEIGHTS(s * WEIGHTS)
        COMMIT();
    }

    const int rb = (wn * WN + (lane & 7) + ((lane >> 4) << 3)) * ROW, hb = (lane >> 3) & 1, sw = SWIZZLE(lane & 7);
    int now = 0, next = AHEAD * WEIGHTS, stage = 0, shift = 0, own = PATCHES, other = PATCHES + room;
    uint tap = 0;
    for (int k = 0; k < stages; k++) {
#if ONE_PATCH
        if (stage == 0 && k) {
            BARRIER();
            while (pixel < span)
                LOAD_PIXELS(4)
            COMMIT();
            WAIT_FOR(0);
        }
#endif
        WAIT_FOR(WAIT);
        BARRIER();
        if (k + AHEAD < stages)
            LOAD_WEIGHTS(next)
        if (stage == 0) {
            pc += CHUNKS;
            pixel = k + BLOCK_STAGES < stages ? r0 - least : span;
            to = (ONE_PATCH ? own : other) + place;
            xs = first_xs += CHUNKS * CHUNK;
        }
#if !ONE_PATCH
        LOAD_PIXELS(PIECE)
#endif
        COMMIT();
        next = next + WEIGHTS == ST * WEIGHTS ? 0 : next + WEIGHTS;
        UNROLL
        for (int t = 0; t < STAGE_TAPS; t++) {
            int ra[MI];
            UNROLL
            for (int i = 0; i < MI; i++) { /* pixels that follow each other have their chunks in other places */
                const int o = at[i] + shift + t * ROW, r = o ^ ((o >> 3) & ((CHUNKS - 1) << 4));
                ra[i] = (inside[i] >> (tap + t)) & 1 ? own + r : ZEROS + (r & 127);
            }
            UNROLL
            for (int kk = 0; kk < CHUNKS / 2; kk++) {
                uint a[MI][4], b[NI / 2][4];
                UNROLL
                for (int i = 0; i < MI; i++)
                    load_matrix(a[i], sm + (ra[i] ^ (kk << 5)));
#if TF32
                UNROLL
                for (int i = 0; i < MI * 4; i++) /* weights are rounded when they are packed */
                    a[i / 4][i % 4] = to_tf32(a[i / 4][i % 4]);
#endif
                UNROLL
                for (int j = 0; j < NI / 2; j++)
                    load_matrix(b[j], sm + now + t * (BN * ROW) + j * 16 * ROW + rb + (((kk * 2 + hb) ^ sw) << 4));
                UNROLL
                for (int i = 0; i < MI; i++)
                    UNROLL
                    for (int j = 0; j < NI; j++)
                        MULTIPLY(acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
            }
        }
        now = now + WEIGHTS == ST * WEIGHTS ? 0 : now + WEIGHTS;
        tap += STAGE_TAPS;
        shift += tap % KW ? ROW : (wd - (STAGE_TAPS == KW ? 0 : KW - 1)) * ROW;
        if (++stage == BLOCK_STAGES) {
#if !ONE_PATCH
            const int done = own;
            own = other;
            other = done;
#endif
            stage = shift = 0;
            tap = 0;
        }
    }
}
