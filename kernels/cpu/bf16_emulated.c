/* The unit for vectors in plain C: to test its code, and to see bfloat16's answers, where there is no such unit. */
#define GK_LANES 4
#include "bf16_plain.h"

/* As the instructions for vectors do it: one pixel's pair by the pairs of 32 columns. */
static void dot_tile(const gk_bf16_tile *t)
{
    const int h = (t->pixels + 1) / 2;
    for (int p = 0; p < t->pixels; p++) {
        const uint16_t *s = p < h ? t->src + p * t->pixel : t->src + t->half + (p - h) * t->pixel, *w = t->w;
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
        const uint16_t *s = t->half && p >= h ? t->src + t->half + (p - h) * t->pixel : t->src + p * t->pixel;
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

#define ATT_PIXELS 14
#define ATT_TILE(T) dot_tile(T)
#include "bf16_attention_plain.h"

static void nothing(void) {}

extern const gk_bf16_unit gk_bf16_emulated;
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
                                        .copy = bf16_copy_plain,
                                        .pack_pairs = bf16_pack_pairs_plain,
                                        .attention = bf16_attention,
                                        .attention_work = bf16_attention_work };
