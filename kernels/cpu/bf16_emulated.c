/* The units in plain C: to test their code, and to see bfloat16's answers, where there is no such unit. */
#include "bf16_plain.h"

/* Eight tiles of 16 rows by 16 words, as a thread of AMX has them. */
static _Thread_local struct {
    uint32_t rows[16][16];
} tiles[8];

static void tile_copy_in(int d, const void *from, ptrdiff_t bytes)
{
    for (int r = 0; r < 16; r++)
        memcpy(tiles[d].rows[r], (const char *)from + r * bytes, sizeof(tiles[d].rows[r]));
}

static void tile_copy_out(int d, void *to, ptrdiff_t bytes)
{
    for (int r = 0; r < 16; r++)
        memcpy((char *)to + r * bytes, tiles[d].rows[r], sizeof(tiles[d].rows[r]));
}

static float half_of(uint32_t pair, int which)
{
    return gk_bf16_value((uint16_t)(which ? pair >> 16 : pair));
}

/* d += a · b: row m of a by the pairs of column n of b. */
static void tile_products(int d, int a, int b)
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum = float_of(tiles[d].rows[m][n]);
            for (int k = 0; k < 16; k++) {
                const uint32_t x = tiles[a].rows[m][k], y = tiles[b].rows[k][n];
                sum += half_of(x, 0) * half_of(y, 0);
                sum += half_of(x, 1) * half_of(y, 1);
            }
            tiles[d].rows[m][n] = bits_of(sum);
        }
}

#define T_ZERO(D) memset(&tiles[D], 0, sizeof(tiles[D]))
#define T_LOAD(D, P, BYTES) tile_copy_in(D, P, BYTES)
#define T_STORE(D, P, BYTES) tile_copy_out(D, P, BYTES)
#define T_DP(D, A, B) tile_products(D, A, B)
#define T_PIXEL(T, P, SUMS) bf16_store(T, P, SUMS)
#include "bf16_amx_tile.h"

/* As the instructions for vectors do it: one pixel's pair by the pairs of 32 columns. */
static void dot_tile(const gk_bf16_tile *t)
{
    const int h = (t->pixels + 1) / 2;
    for (int p = 0; p < t->pixels; p++) {
        const uint16_t *s = p < h ? t->src + p * GK_BF16_K : t->src + t->half + (p - h) * GK_BF16_K, *w = t->w;
        float sums[GK_BF16_COLUMNS] = { 0 };
        for (size_t i = 0; i < t->n_taps; i++)
            for (int k = 0; k < GK_BF16_K; k++) {
                const float x = gk_bf16_value(s[t->taps[i] + k]);
                for (int j = 0; j < GK_BF16_COLUMNS; j++)
                    sums[j] += x * gk_bf16_value(w[((ptrdiff_t)i * 16 + k / 2) * 64 + j * 2 + k % 2]);
            }
        bf16_store(t, p, sums);
    }
}

void gk_bf16_tile_plain(const gk_bf16_tile *t)
{
    const int h = (t->pixels + 1) / 2;
    for (int p = 0; p < t->pixels; p++) {
        const uint16_t *s = t->half && p >= h ? t->src + t->half + (p - h) * GK_BF16_K : t->src + p * GK_BF16_K;
        const uint16_t *w = t->w;
        float sums[GK_BF16_COLUMNS] = { 0 };
        for (size_t i = 0; i < t->n_taps; i++, w += t->parts * GK_BF16_K * GK_BF16_COLUMNS)
            for (int k = 0; k < GK_BF16_K; k++) {
                float x = 0.0f;
                for (int part = t->parts - 1; part >= 0; part--)
                    x += gk_bf16_value(s[part * t->part + t->taps[i] + k]);
                for (int j = 0; j < GK_BF16_COLUMNS; j++) {
                    float y = 0.0f;
                    for (int part = t->parts - 1; part >= 0; part--)
                        y += gk_bf16_value(w[(part * 16 + k / 2) * 64 + j * 2 + k % 2]);
                    sums[j] += x * y;
                }
            }
        if (t->at[p] >= 0)
            bf16_store(t, p, sums);
    }
}

static void nothing(void) {}

extern const gk_bf16_unit gk_bf16_emulated, gk_bf16_emulated_amx;
const gk_bf16_unit gk_bf16_emulated = { .name = "emulated",
                                        .pixels = 14,
                                        .most_parts = 1,
                                        .strip = 64 << 10,
                                        .any_block = true,
                                        .speed = 2,
                                        .begin = nothing,
                                        .end = nothing,
                                        .tile = dot_tile,
                                        .pack = bf16_pack_plain,
                                        .copy = bf16_copy_plain };
const gk_bf16_unit gk_bf16_emulated_amx = { .name = "emulated_amx",
                                            .pixels = 32,
                                            .flat = true,
                                            .most_parts = 3,
                                            .strip = 64 << 10,
                                            .any_block = true,
                                            .speed = 8,
                                            .begin = nothing,
                                            .end = nothing,
                                            .tile = amx_tile,
                                            .pack = bf16_pack_plain,
                                            .copy = bf16_copy_plain };
