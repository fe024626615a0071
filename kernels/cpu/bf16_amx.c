/* The unit of Intel's AMX: tiles of 16 rows by 64 bytes. */
#define GK_LANES 16
#include "bf16_avx512.h"

#define T_ZERO(D) _tile_zero(D)
#define T_LOAD(D, P, BYTES) _tile_loadd(D, P, BYTES) /* of which compilers do not know that it reads memory */
#define T_STORE(D, P, BYTES) _tile_stored(D, P, BYTES)
#define T_DP(D, A, B) _tile_dpbf16ps(D, A, B)
#define T_PIXELS(T, SUMS) bf16_store_all(T, SUMS)
#include "bf16_amx_tile.h"

#define ATT_PIXELS 32
#define ATT_TILE(T) amx_tile(T)
#include "bf16_attention.h"

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_config;

static void amx_begin(void)
{
    _Alignas(64) tile_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.bytes[i] = 64;
        c.rows[i] = TILE_ROWS;
    }
    __asm__ volatile("" : : "r"(&c) : "memory"); /* gcc believes that the instruction reads but a pointer of it */
    _tile_loadconfig(&c);
}

static void amx_end(void)
{
    _tile_release();
}

extern const gk_bf16_unit gk_bf16_amx;
const gk_bf16_unit gk_bf16_amx = { .name = "amx",
                                   .pixels = 32,
                                   .flat = true,
                                   .most_parts = 3,
                                   .strip = 1 << 20,
                                   .speed = 8,
                                   .begin = amx_begin,
                                   .end = amx_end,
                                   .tile = amx_tile,
                                   .store = amx_store,
                                   .pack = bf16_pack_avx512,
                                   .copy = bf16_copy_avx512,
                                   .pack_pairs = bf16_pack_pairs_avx512,
                                   .attention = bf16_attention,
                                   .attention_work = bf16_attention_work };
