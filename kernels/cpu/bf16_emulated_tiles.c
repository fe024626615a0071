/* AMX in plain C: to test the code of its unit where there is none. */
#define GK_LANES 4
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

static void store_all(const gk_bf16_tile *t, const float *sums)
{
    for (int p = 0; p < t->pixels; p++)
        if (t->at[p] >= 0)
            bf16_store(t, p, sums + p * GK_BF16_COLUMNS);
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
#define T_PIXELS(T, SUMS) store_all(T, SUMS)
#include "bf16_amx_tile.h"

#define ATT_PIXELS 32
#define ATT_TILE(T) amx_tile(T)
#include "bf16_attention_plain.h"

static void nothing(void) {}

extern const gk_bf16_unit gk_bf16_emulated_amx;
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
                                            .store = amx_store,
                                            .pack = bf16_pack_plain,
                                            .copy = bf16_copy_plain,
                                            .pack_pairs = bf16_pack_pairs_plain,
                                            .attention = bf16_attention,
                                            .attention_work = bf16_attention_work };
