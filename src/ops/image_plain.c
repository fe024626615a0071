/* Pictures of plain bytes: BMP and PNM.
 *
 * BMP after Microsoft's description of BITMAPINFOHEADER: rows from the bottom up unless the height is negative, each
 * filled to 4 bytes; 1, 4 and 8 bits are indices into a palette of blue, green, red, 0; 16 and 32 bits are cut into
 * colours by masks, 5 bits and 8 bits each where none are given. Run-length codes are not read. PNM after netpbm's
 * manual pages: P1 to P3 as text, P4 to P6 as bytes. */
#include "ops/image.h"

/* ---- BMP ---- */

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

typedef struct bmp {
    int64_t width, height;
    bool from_top;
    uint32_t bits, n_palette;
    size_t palette, palette_item, pixels;
    uint32_t masks[3]; /* of red, green, blue; 16 and 32 bits alone */
} bmp;

/* The file's header is 14 bytes, where the pixels begin at 10; then comes one of `size` bytes. */
static gopt_status read_bmp_header(gi_image *m, bmp *b)
{
    const uint8_t *p = m->p;
    const uint32_t size = u32(p + 14);
    const bool old = size == 12;
    if (m->n < 14 + (size_t)size)
        return gi_image_fail(m, "is a damaged BMP: its header is cut off");
    const int32_t height = old ? (int32_t)u16(p + 20) : (int32_t)u32(p + 22);
    const uint32_t compression = old ? 0 : u32(p + 30);
    b->width = old ? (int64_t)u16(p + 18) : (int32_t)u32(p + 18);
    b->height = height < 0 ? -(int64_t)height : height;
    b->from_top = height < 0;
    b->bits = u16(p + (old ? 24 : 28));
    b->pixels = u32(p + 10);
    b->palette = 14 + (size_t)size;
    b->palette_item = old ? 3 : 4;
    if (b->width < 1 || b->height < 1)
        return gi_image_fail(m, "is a damaged BMP: its size is %lldx%lld", (long long)b->width, (long long)b->height);
    if (compression != 0 && !((compression == 3 || compression == 6) && (b->bits == 16 || b->bits == 32)))
        return gi_image_fail(m, "is a BMP with compression %u, which is not read", compression);
    if (b->bits == 1 || b->bits == 4 || b->bits == 8) {
        const uint32_t most = UINT32_C(1) << b->bits, used = old ? 0 : u32(p + 46);
        b->n_palette = used && used < most ? used : most;
        return b->palette + b->n_palette * b->palette_item <= m->n
                   ? GOPT_OK
                   : gi_image_fail(m, "is a damaged BMP: its palette is cut off");
    }
    if (b->bits != 16 && b->bits != 24 && b->bits != 32)
        return gi_image_fail(m, "is a damaged BMP: %u bits a pixel", b->bits);
    static const uint32_t usual[2][3] = { { 0x7c00, 0x3e0, 0x1f }, { 0xff0000, 0xff00, 0xff } };
    memcpy(b->masks, usual[b->bits == 32], sizeof b->masks);
    if (compression && m->n < 14 + 52)
        return gi_image_fail(m, "is a damaged BMP: its masks are cut off");
    for (int c = 0; c < 3 && compression; c++)
        b->masks[c] = u32(p + 54 + 4 * c);
    return GOPT_OK;
}

/* The bits under a mask, stretched to 0 … 255. */
static uint8_t masked(uint32_t v, uint32_t mask)
{
    if (!mask)
        return 0;
    const int shift = __builtin_ctz(mask);
    const uint64_t most = mask >> shift;
    return (uint8_t)(((uint64_t)((v & mask) >> shift) * 255 + most / 2) / most);
}

static void bmp_pixel(const gi_image *m, const bmp *b, const uint8_t *row, int64_t x, uint8_t *to)
{
    if (b->bits == 24) {
        for (int c = 0; c < 3; c++)
            to[c] = row[3 * x + 2 - c];
    } else if (b->bits >= 16) {
        const uint32_t v = b->bits == 16 ? u16(row + 2 * x) : u32(row + 4 * x);
        for (int c = 0; c < 3; c++)
            to[c] = masked(v, b->masks[c]);
    } else {
        const int64_t at = x * b->bits;
        const uint32_t i = (uint32_t)(row[at / 8] >> (8 - b->bits - at % 8)) & ((1u << b->bits) - 1);
        for (int c = 0; c < 3; c++)
            to[c] = i < b->n_palette ? m->p[b->palette + i * b->palette_item + (size_t)(2 - c)] : 0;
    }
}

gopt_status gi_image_bmp(gi_image *m)
{
    bmp b = { 0 };
    GI_TRY(read_bmp_header(m, &b));
    const uint64_t row = ((uint64_t)b.width * b.bits + 31) / 32 * 4;
    if (b.pixels > m->n || row * (uint64_t)b.height > m->n - b.pixels)
        return gi_image_fail(m, "is a BMP that is cut off: %lldx%lld need %llu bytes, %zu are there",
                             (long long)b.width, (long long)b.height, (unsigned long long)(row * (uint64_t)b.height),
                             b.pixels > m->n ? 0 : m->n - b.pixels);
    GI_TRY(gi_image_begin(m, (uint64_t)b.width, (uint64_t)b.height, 3));
    uint8_t *to = m->pixels->data;
    for (int64_t y = 0; y < b.height; y++) {
        const uint8_t *from = m->p + b.pixels + (size_t)(b.from_top ? y : b.height - 1 - y) * row;
        for (int64_t x = 0; x < b.width; x++, to += 3)
            bmp_pixel(m, &b, from, x, to);
    }
    return GOPT_OK;
}

/* ---- PNM ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Past blanks and comments, which run from # to the line's end. */
static size_t skip_blanks(const gi_image *m, size_t at)
{
    bool comment = false;
    for (; at < m->n && (comment || is_blank(m->p[at]) || m->p[at] == '#'); at++)
        comment = m->p[at] != '\n' && (comment || m->p[at] == '#');
    return at;
}

/* The next number of the header or of the text form; false where there is none. */
static bool pnm_number(const gi_image *m, size_t *at, uint32_t *v)
{
    *at = skip_blanks(m, *at);
    if (*at >= m->n || !is_digit(m->p[*at]))
        return false;
    uint32_t x = 0;
    while (*at < m->n && is_digit(m->p[*at]) && x < 100000000)
        x = x * 10 + (uint32_t)(m->p[(*at)++] - '0');
    *v = x;
    return true;
}

typedef struct pnm {
    uint32_t width, height, most;
    int channels;
    bool text, bits; /* bits: one a sample, 1 is black */
} pnm;

static gopt_status pnm_text(gi_image *m, const pnm *p, size_t at)
{
    uint8_t *to = m->pixels->data;
    const uint64_t samples = (uint64_t)p->width * p->height * (uint64_t)p->channels;
    for (uint64_t i = 0; i < samples; i++) {
        uint32_t v;
        if (p->bits) { /* digits may stand without a blank between them */
            at = skip_blanks(m, at);
            if (at >= m->n || (m->p[at] != '0' && m->p[at] != '1'))
                return gi_image_fail(m, "is cut off after %llu of %llu samples", (unsigned long long)i,
                                     (unsigned long long)samples);
            to[i] = m->p[at++] == '1' ? 0 : 255;
            continue;
        }
        if (!pnm_number(m, &at, &v))
            return gi_image_fail(m, "is cut off after %llu of %llu samples", (unsigned long long)i,
                                 (unsigned long long)samples);
        v = v > p->most ? p->most : v;
        to[i] = (uint8_t)((v * UINT64_C(255) + p->most / 2) / p->most);
    }
    return GOPT_OK;
}

static void pnm_bytes(gi_image *m, const pnm *p, const uint8_t *from)
{
    uint8_t *to = m->pixels->data;
    const size_t samples = (size_t)p->width * p->height * (size_t)p->channels, row = (p->width + 7u) / 8;
    for (uint32_t y = 0; y < p->height && p->bits; y++)
        for (uint32_t x = 0; x < p->width; x++)
            *to++ = (from[y * row + x / 8] >> (7 - x % 8)) & 1 ? 0 : 255;
    for (size_t i = 0; i < samples && !p->bits; i++) {
        uint32_t v = p->most > 255 ? (uint32_t)from[2 * i] << 8 | from[2 * i + 1] : from[i];
        v = v > p->most ? p->most : v;
        to[i] = (uint8_t)(p->most == 255 ? v : (v * 255 + p->most / 2) / p->most);
    }
}

gopt_status gi_image_pnm(gi_image *m)
{
    size_t at = 2;
    pnm p = { .text = m->p[1] < '4', .bits = m->p[1] == '1' || m->p[1] == '4', .most = 1 };
    p.channels = m->p[1] == '3' || m->p[1] == '6' ? 3 : 1;
    if (!pnm_number(m, &at, &p.width) || !pnm_number(m, &at, &p.height) || (!p.bits && !pnm_number(m, &at, &p.most)) ||
        !p.most || p.most > 65535)
        return gi_image_fail(m, "is a damaged PNM picture: its header is cut off");
    at += !p.text; /* one blank before the bytes */
    const uint64_t samples = (uint64_t)p.width * p.height * (uint64_t)p.channels;
    const uint64_t need = p.text   ? samples
                          : p.bits ? (p.width + UINT64_C(7)) / 8 * p.height
                                   : samples * (p.most > 255 ? 2 : 1);
    if (at > m->n || need > m->n - at)
        return gi_image_fail(m, "is cut off: %ux%u need %llu bytes, %zu are there", p.width, p.height,
                             (unsigned long long)need, at > m->n ? 0 : m->n - at);
    GI_TRY(gi_image_begin(m, p.width, p.height, p.channels));
    if (p.text)
        return pnm_text(m, &p, at);
    pnm_bytes(m, &p, m->p + at);
    return GOPT_OK;
}
