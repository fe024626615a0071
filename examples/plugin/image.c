/* A plugin with two operators, in plain C: those of onnxruntime-extensions that stand before and behind an image
 * network.
 *
 *   com.microsoft.extensions::DecodeImage   bytes of a file u8[n]    →  pixels u8[height, width, 3], blue first
 *   com.microsoft.extensions::EncodeImage   pixels                   →  bytes of a PNG file
 *
 *   cc -shared -fPIC -O2 -I PREFIX/include -o image.so image.c
 *   gopt run superres.onnx --plugin ./image.so --input picture.bin --output-dir out
 *
 * To stay small it reads one format, binary PPM (netpbm.sourceforge.net/doc/ppm.html), and writes PNG without
 * compression: "stored" blocks of RFC 1951 in a zlib stream (RFC 1950), as W3C's PNG specification wants it. */
#include <string.h>

#include <gopt/plugin.h>

/* Neither width nor height may pass this, so that no product below can overflow. */
enum { MOST = 1 << 15 };

/* ---- DecodeImage ---- */

/* How many pixels there are is in the file's first bytes: before the run, nothing is known of it. */
static gopt_status decode_types(const gopt_plugin_call *c)
{
    const int64_t dims[] = { -1, -1, 3 };
    return gopt_plugin_set_type(c, 0, GOPT_U8, 3, dims);
}

typedef struct reader {
    const uint8_t *p, *end;
} reader;

/* A number, behind white space and comments; -1 where there is none, or one past MOST. */
static int64_t number(reader *r)
{
    while (r->p < r->end && (*r->p == '#' || strchr(" \t\r\n", *r->p))) {
        if (!*r->p)
            return -1;
        if (*r->p == '#')
            while (r->p < r->end && *r->p != '\n')
                r->p++;
        else
            r->p++;
    }
    int64_t v = -1;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9' && v <= MOST; r->p++)
        v = 10 * (v < 0 ? 0 : v) + (*r->p - '0');
    return v > MOST ? -1 : v;
}

static gopt_status decode(const gopt_plugin_call *c)
{
    if (c->n_in != 1 || !c->in[0].given || c->in[0].dtype != GOPT_U8)
        return gopt_plugin_fail(c, "DecodeImage takes one input, the bytes of a file as u8");
    const uint8_t *file = c->in[0].data;
    reader r = { file, file + c->in[0].bytes };
    if (c->in[0].bytes < 2 || file[0] != 'P' || file[1] != '6')
        return gopt_plugin_fail(c, "the picture is no binary PPM: it does not begin with P6");
    r.p += 2;
    const int64_t width = number(&r), height = number(&r), most = number(&r);
    if (width <= 0 || height <= 0 || most != 255)
        return gopt_plugin_fail(c, "the picture's width, height or maximum cannot be: expected 1 to 32768, and 255");
    r.p += r.p < r.end; /* one white space */
    if (r.end - r.p < 3 * width * height)
        return gopt_plugin_fail(c, "the picture ends before its last pixel");
    uint8_t *y = gopt_plugin_output(c, 0, GOPT_U8, 3, (const int64_t[]){ height, width, 3 });
    if (!y)
        return GOPT_NO_MEMORY;
    for (int64_t i = 0; i < width * height; i++) {
        y[3 * i] = r.p[3 * i + 2];
        y[3 * i + 1] = r.p[3 * i + 1];
        y[3 * i + 2] = r.p[3 * i];
    }
    return GOPT_OK;
}

/* ---- EncodeImage ---- */

static gopt_status encode_types(const gopt_plugin_call *c)
{
    const int64_t dims[] = { -1 };
    return gopt_plugin_set_type(c, 0, GOPT_U8, 1, dims);
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 24; i >= 0; i -= 8)
        *p++ = (uint8_t)(v >> i);
    return p;
}

/* The checksum behind a PNG chunk, of its name and data. */
static uint8_t *put_crc(uint8_t *p, const uint8_t *from)
{
    uint32_t crc = 0xffffffffu;
    for (; from < p; from++) {
        crc ^= *from;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return put32(p, ~crc);
}

static uint8_t *put_header(uint8_t *p, uint32_t width, uint32_t height)
{
    static const uint8_t signature[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    static const uint8_t rgb8[] = { 8, 2, 0, 0, 0 }; /* bits, colour type, and nothing special */
    memcpy(p, signature, sizeof signature);
    uint8_t *chunk = put32(p + sizeof signature, 13);
    memcpy(chunk, "IHDR", 4);
    p = put32(put32(chunk + 4, width), height);
    memcpy(p, rgb8, sizeof rgb8);
    return put_crc(p + sizeof rgb8, chunk);
}

/* The rows as a zlib stream of stored blocks, at most 65535 bytes each. */
static uint8_t *put_stored(uint8_t *p, const uint8_t *rows, size_t n)
{
    uint32_t a = 1, b = 0; /* Adler-32 */
    *p++ = 0x78;
    *p++ = 0x01;
    for (size_t at = 0; at < n;) {
        const size_t len = n - at < 65535 ? n - at : 65535;
        *p++ = at + len == n;
        *p++ = (uint8_t)len;
        *p++ = (uint8_t)(len >> 8);
        *p++ = (uint8_t)~len;
        *p++ = (uint8_t)(~len >> 8);
        for (size_t i = 0; i < len; i++) {
            *p++ = rows[at + i];
            a = (a + rows[at + i]) % 65521;
            b = (b + a) % 65521;
        }
        at += len;
    }
    return put32(p, b << 16 | a);
}

static gopt_status encode(const gopt_plugin_call *c)
{
    const gopt_plugin_tensor *x = c->in;
    if (c->n_in != 1 || !x->given || x->dtype != GOPT_U8 || x->rank != 3 || x->dims[2] != 3)
        return gopt_plugin_fail(c, "EncodeImage takes one input, pixels as u8[height, width, 3]");
    if (strcmp(gopt_plugin_string(c, "format", "png"), "png") != 0)
        return gopt_plugin_fail(c, "this plugin writes format=\"png\" alone");
    const int64_t height = x->dims[0], width = x->dims[1];
    if (height <= 0 || width <= 0 || height > MOST / 4 || width > MOST / 4)
        return gopt_plugin_fail(c, "the picture is empty or larger than 8192 x 8192");

    const size_t row = 3 * (size_t)width + 1, n = row * (size_t)height;
    const size_t stream = 2 + n + 5 * ((n + 65534) / 65535) + 4; /* head, blocks with heads of 5, checksum */
    const int64_t size = (int64_t)(8 + 25 + 12 + stream + 12);
    uint8_t *rows = gopt_plugin_scratch(c, n), *file = gopt_plugin_output(c, 0, GOPT_U8, 1, &size);
    if (!rows || !file)
        return GOPT_NO_MEMORY;
    const uint8_t *pixel = x->data;
    for (int64_t h = 0; h < height; h++) {
        uint8_t *to = rows + (size_t)h * row + 1; /* behind the filter's number, 0: none */
        for (int64_t w = 0; w < width; w++, pixel += 3, to += 3) {
            to[0] = pixel[2];
            to[1] = pixel[1];
            to[2] = pixel[0];
        }
    }
    uint8_t *chunk = put32(put_header(file, (uint32_t)width, (uint32_t)height), (uint32_t)stream);
    memcpy(chunk, "IDAT", 4);
    chunk = put32(put_crc(put_stored(chunk + 4, rows, n), chunk), 0);
    memcpy(chunk, "IEND", 4);
    put_crc(chunk + 4, chunk);
    return GOPT_OK;
}

/* ---- what gopt loads ---- */

GOPT_PLUGIN(registry)
{
    const gopt_plugin_op ops[] = {
        { .abi = GOPT_PLUGIN_ABI,
          .domain = "com.microsoft.extensions",
          .name = "DecodeImage",
          .means = "reads a binary PPM picture",
          .pure = true,
          .types = decode_types,
          .run = decode },
        { .abi = GOPT_PLUGIN_ABI,
          .domain = "com.microsoft.extensions",
          .name = "EncodeImage",
          .means = "writes a PNG picture",
          .pure = true,
          .types = encode_types,
          .run = encode },
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (gopt_plugin_add(registry, &ops[i]) != GOPT_OK)
            return GOPT_BAD_INPUT;
    return GOPT_OK;
}
