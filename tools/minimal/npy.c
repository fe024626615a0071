/* NumPy's .npy (npy.h). */
#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_HEADER = 4096 };

static const struct {
    gopt_dtype dtype;
    const char *descr;
} types[] = { { GOPT_F32, "<f4" }, { GOPT_F64, "<f8" },  { GOPT_F16, "<f2" }, { GOPT_I64, "<i8" },  { GOPT_I32, "<i4" },
              { GOPT_I16, "<i2" }, { GOPT_I8, "|i1" },   { GOPT_U64, "<u8" }, { GOPT_U32, "<u4" },  { GOPT_U16, "<u2" },
              { GOPT_U8, "|u1" },  { GOPT_BOOL, "|b1" }, { GOPT_C64, "<c8" }, { GOPT_C128, "<c16" } };

static const char *descr_of(gopt_dtype t)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == t)
            return types[i].descr;
    return NULL;
}

static void print_shape(const gopt_tensor *t, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "(");
    for (int i = 0; i < t->rank && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%lld%s", (long long)t->dims[i], i + 1 < t->rank || i == 0 ? "," : "");
    if (n < size)
        snprintf(out + n, size - n, ")");
}

static bool wrong(const char *path, const char *what)
{
    fprintf(stderr, "error: %s: %s\n", path, what);
    return false;
}

/* Is the header's text that of the tensor? Spaces do not count. */
static bool fits(const char *path, const char *header, const gopt_tensor *t)
{
    char text[MAX_HEADER + 1], shape[512], want[600], what[1300];
    size_t n = 0;
    for (const char *p = header; *p; p++)
        if (*p != ' ' && *p != '\n')
            text[n++] = *p;
    text[n] = 0;
    const char *descr = descr_of(t->dtype);
    print_shape(t, shape, sizeof shape);
    snprintf(want, sizeof want, "'descr':'%s'", descr ? descr : "none");
    if (!strstr(text, want)) {
        snprintf(what, sizeof what, "its elements are not %s, as the input's", gopt_dtype_name(t->dtype));
        return wrong(path, what);
    }
    snprintf(want, sizeof want, "'shape':%s", shape);
    if (!strstr(text, want) || !strstr(text, "'fortran_order':False")) {
        snprintf(what, sizeof what, "expected the shape %s in C order, found %.600s", shape, text);
        return wrong(path, what);
    }
    return true;
}

/* Reads past an .npy header; where there is none the file is the bytes alone. */
static bool skip_header(const char *path, FILE *f, const gopt_tensor *t)
{
    unsigned char head[12];
    if (fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY", 6) != 0) {
        rewind(f);
        return true;
    }
    size_t n = (size_t)head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) {
        if (fread(head + 10, 1, 2, f) != 2)
            return wrong(path, "its header is cut off");
        n |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    char text[MAX_HEADER + 1];
    if (n > MAX_HEADER || fread(text, 1, n, f) != n)
        return wrong(path, "its header is cut off or too long");
    text[n] = 0;
    return fits(path, text, t);
}

bool npy_read(const char *path, gopt_tensor *to)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return wrong(path, strerror(errno));
    bool ok = skip_header(path, f, to);
    if (ok && (fread(to->data, 1, to->bytes, f) != to->bytes || fgetc(f) != EOF)) {
        char what[120];
        snprintf(what, sizeof what, "expected %zu bytes of elements", to->bytes);
        ok = wrong(path, what);
    }
    (void)fclose(f);
    return ok;
}

bool npy_write(const char *folder, const char *name, const gopt_tensor *t)
{
    char path[1024], temporary[1040], shape[512], header[1200];
    const char *descr = t && t->kind == GOPT_TENSOR ? descr_of(t->dtype) : NULL;
    int n = snprintf(path, sizeof path, "%s/", folder);
    for (const char *p = name; *p && n < (int)sizeof path - 8; p++)
        path[n++] = *p == '/' || *p == ':' ? '_' : *p;
    memcpy(path + n, ".npy", 5);
    if (!descr)
        return wrong(path, "this output is of no type that .npy has");
    print_shape(t, shape, sizeof shape);
    n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    while ((n + 10 + 1) % 64)
        header[n++] = ' ';
    header[n++] = '\n';
    const unsigned char start[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)n, (unsigned char)(n >> 8) };
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    FILE *f = fopen(temporary, "wbe");
    if (!f)
        return wrong(path, strerror(errno));
    bool ok = fwrite(start, 1, 10, f) == 10 && fwrite(header, 1, (size_t)n, f) == (size_t)n &&
              fwrite(t->data, 1, t->bytes, f) == t->bytes;
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(temporary, path) != 0) {
        (void)wrong(path, strerror(errno));
        (void)unlink(temporary);
        return false;
    }
    return true;
}
