/* Strings: joined, cleaned and split. Results point into the inputs or into scratch: the driver gives them
 * memory of their own. */
#include <locale.h>
#include <wchar.h>
#include <wctype.h>

#include "ops/eval.h"
#include "ops/infer.h"

/* ---- StringConcat ---- */

static gopt_status infer_concat(gi_infer *c)
{
    const gopt_dtype y = gi_infer_dtype(c, StringConcat_in_Y);
    if (y != GOPT_UNDEFINED && y != GOPT_STRING)
        return gi_infer_fail(c, StringConcat_in_Y, "expected strings, found %s", gopt_dtype_name(y));
    return gi_infer_binary(c);
}

static gopt_status eval_concat(gi_eval *a)
{
    const gopt_tensor *x = a->in[StringConcat_in_X], *y = a->in[StringConcat_in_Y];
    int64_t dims[GOPT_MAX_RANK], sx[GOPT_MAX_RANK], sy[GOPT_MAX_RANK], at[GOPT_MAX_RANK] = { 0 };
    int rank;
    gopt_tensor *z;
    if (y->dtype != GOPT_STRING)
        return gi_eval_fail(a, StringConcat_in_Y, "expected strings, found %s", gopt_dtype_name(y->dtype));
    if (!gi_broadcast_dims(x->rank, x->dims, y->rank, y->dims, &rank, dims))
        return gi_eval_fail(a, StringConcat_in_Y, "its shape does not broadcast with that of X");
    GI_TRY(gi_eval_out(a, 0, GOPT_STRING, rank, dims, &z));
    if (!z)
        return GOPT_OK;
    gi_broadcast_strides(x->rank, x->dims, rank, dims, sx);
    gi_broadcast_strides(y->rank, y->dims, rank, dims, sy);
    const gopt_string *px = x->data, *py = y->data;
    gopt_string *to = z->data;
    for (int64_t i = 0, n = gopt_tensor_elements(z), ix = 0, iy = 0; i < n; i++) {
        size_t length;
        char *p = gi_add_size(px[ix].n, py[iy].n, &length) ? gi_eval_scratch(a, length + 1, 1) : NULL;
        GI_NEED(p);
        if (px[ix].n)
            memcpy(p, px[ix].p, px[ix].n);
        if (py[iy].n)
            memcpy(p + px[ix].n, py[iy].p, py[iy].n);
        to[i] = (gopt_string){ .p = p, .n = length };
        for (int k = rank - 1; k >= 0; k--) {
            ix += sx[k];
            iy += sy[k];
            if (++at[k] < dims[k])
                break;
            ix -= sx[k] * dims[k];
            iy -= sy[k] * dims[k];
            at[k] = 0;
        }
    }
    return GOPT_OK;
}

/* ---- UTF-8 ---- */

/* The code point at p, and how many bytes it takes; 0 where those are no UTF-8. */
static size_t read_point(const uint8_t *p, size_t n, uint32_t *c)
{
    const size_t length = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (length == 0 || length > n)
        return 0;
    *c = length == 1 ? p[0] : p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | (p[i] & 0x3fu);
    }
    return *c < least[length] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : length;
}

static size_t write_point(uint32_t c, char *p)
{
    if (c < 0x80) {
        p[0] = (char)c;
        return 1;
    }
    const size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        p[i] = (char)(0x80 | (c & 0x3f));
    p[0] = (char)((0xf00u >> length & 0xff) | c);
    return length;
}

/* ---- StringNormalizer ---- */

typedef enum letter_case { AS_IS, LOWER, UPPER } letter_case;

static const char *const case_names[] = { [AS_IS] = "NONE", [LOWER] = "LOWER", [UPPER] = "UPPER" };

static bool case_action(const gi_node *n, letter_case *action)
{
    for (int i = 0; i < 3; i++)
        if (gi_attr_is(n, StringNormalizer_at_case_change_action, case_names[i])) {
            *action = (letter_case)i;
            return true;
        }
    return false;
}

/* One string in another case, character by character as the locale has it. The attribute `locale` names those of
 * another platform ("en_US"), whose letters are Unicode's too: one that reads UTF-8 is asked. */
static gopt_status change_case(gi_eval *a, locale_t locale, letter_case to, const gopt_string *s, gopt_string *out)
{
    size_t room;
    char *p = gi_mul_size(s->n, 4, &room) ? gi_eval_scratch(a, room + 1, 1) : NULL;
    GI_NEED(p);
    *out = (gopt_string){ .p = p };
    for (size_t i = 0; i < s->n;) {
        uint32_t c;
        const size_t length = read_point((const uint8_t *)s->p + i, s->n - i, &c);
        if (!length)
            return gi_eval_fail(a, 0, "a string is no valid UTF-8 (at its byte %zu)", i);
        if (c < 0x80) {
            if (to == LOWER ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z')
                c ^= 0x20;
        } else if (locale) {
            c = (uint32_t)(to == LOWER ? towlower_l((wint_t)c, locale) : towupper_l((wint_t)c, locale));
        } else {
            return gi_eval_fail(a, 0, "this system has no locale of UTF-8 to change the case of U+%04X with", c);
        }
        out->n += write_point(c, p + out->n);
        i += length;
    }
    return GOPT_OK;
}

static locale_t utf8_locale(void)
{
    static const char *const names[] = { "C.UTF-8", "en_US.UTF-8", "UTF-8" };
    locale_t l = (locale_t)0;
    for (size_t i = 0; i < GI_COUNT(names) && !l; i++)
        l = newlocale(LC_CTYPE_MASK, names[i], (locale_t)0);
    return l;
}

/* Stop words by their bytes. */
typedef struct word {
    gopt_string s;
    struct word *next;
} word;

static uint64_t hash_of(const gopt_string *s)
{
    return gi_hash(s->p, s->n, 0);
}

static bool is_stopword(const gi_map *words, const gopt_string *s)
{
    for (const word *w = gi_map_get(words, hash_of(s)); w; w = w->next)
        if (w->s.n == s->n && (!s->n || !memcmp(w->s.p, s->p, s->n)))
            return true;
    return false;
}

/* Without case sensitivity words are compared in the case that the output has, or in lower case. */
static gopt_status normalize(gi_eval *a, locale_t locale, gopt_string *to, int64_t *kept)
{
    const gopt_tensor *x = a->in[0];
    const gopt_string *s = x->data;
    letter_case action, compare = AS_IS;
    if (!case_action(a->n, &action))
        return gi_eval_fail(a, -1, "attribute case_change_action is none of NONE, LOWER, UPPER");
    const char *const *stop;
    const uint32_t n_stop = gi_attr_strings(a->n, StringNormalizer_at_stopwords, &stop);
    if (n_stop && !gi_attr_int(a->n, StringNormalizer_at_is_case_sensitive))
        compare = action == UPPER ? UPPER : LOWER;
    gi_map words;
    gi_map_init(&words, a->scratch);
    for (uint32_t i = 0; i < n_stop; i++) {
        word *w = gi_eval_scratch(a, 1, sizeof *w);
        GI_NEED(w);
        const gopt_string given = { .p = stop[i], .n = strlen(stop[i]) };
        w->s = given;
        if (compare != AS_IS)
            GI_TRY(change_case(a, locale, compare, &given, &w->s));
        w->next = gi_map_get(&words, hash_of(&w->s));
        GI_NEED(gi_map_put(&words, hash_of(&w->s), w));
    }
    *kept = 0;
    for (int64_t i = 0, n = gopt_tensor_elements(x); i < n; i++) {
        gopt_string seen = s[i], y = s[i];
        if (compare != AS_IS)
            GI_TRY(change_case(a, locale, compare, &s[i], &seen));
        if (is_stopword(&words, &seen))
            continue;
        if (action != AS_IS && action == compare)
            y = seen;
        else if (action != AS_IS)
            GI_TRY(change_case(a, locale, action, &s[i], &y));
        to[(*kept)++] = y;
    }
    return GOPT_OK;
}

static gopt_status eval_normalizer(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    if ((x->rank != 1 && x->rank != 2) || (x->rank == 2 && x->dims[0] != 1))
        return gi_eval_fail(a, 0, "expected a shape of [C] or [1,C]");
    gopt_string *to = gi_eval_scratch(a, (size_t)gopt_tensor_elements(x) + 1, sizeof *to);
    GI_NEED(to);
    const locale_t locale = utf8_locale();
    int64_t kept = 0;
    const gopt_status st = normalize(a, locale, to, &kept);
    if (locale)
        freelocale(locale);
    GI_TRY(st);
    /* Where nothing is left, one empty string is. */
    const int64_t dims[2] = { x->rank == 2 ? 1 : kept ? kept : 1, kept ? kept : 1 };
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_STRING, x->rank, dims, &y));
    if (y && kept)
        memcpy(y->data, to, (size_t)kept * sizeof *to);
    return GOPT_OK;
}

static gopt_status infer_normalizer(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    letter_case action;
    const char *const *stop;
    if (!case_action(c->n, &action))
        return gi_infer_fail_node(c, "attribute case_change_action is '%s', expected NONE, LOWER or UPPER",
                                  gi_attr_str(c->n, StringNormalizer_at_case_change_action));
    int64_t n;
    if (rank == 0 || rank > 2 || (rank == 2 && gi_type_dim_const(t, 0, &n) && n != 1))
        return gi_infer_fail(c, 0, "expected a shape of [C] or [1,C]");
    const gi_dim *dims[2] = { 0 };
    if (rank > 0) {
        const bool all = !gi_attr_strings(c->n, StringNormalizer_at_stopwords, &stop);
        const gi_dim *one = gi_dim_const(c->g->dims, 1);
        dims[0] = one;
        dims[rank - 1] = all ? gi_dim_max(c->g->dims, t->dims[rank - 1], one) : gi_dim_unknown(c->g->dims, true);
    }
    gi_infer_set(c, 0, GOPT_STRING, rank, dims);
    return GOPT_OK;
}

/* ---- StringSplit ---- */

/* How many bytes of white space stand at p: Unicode's, and the four separators of ASCII, as Python's split has it,
 * whose answers are those of ONNX's reference. */
static size_t space_at(const char *p, size_t n)
{
    uint32_t c;
    if (n && (*p == ' ' || (*p >= '\t' && *p <= '\r') || (*p >= 0x1c && *p <= 0x1f)))
        return 1;
    const size_t length = n && (*p & 0x80) ? read_point((const uint8_t *)p, n, &c) : 0;
    if (!length)
        return 0;
    const bool space = c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
                       c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
    return space ? length : 0;
}

typedef struct splitter {
    const char *delimiter; /* NULL: runs of white space */
    size_t width;
    int64_t most; /* pieces; the last of them is the rest */
} splitter;

/* The next piece of what is left of s; false where there is none. `done` is how many came before. */
static bool next_piece(const splitter *f, gopt_string *s, int64_t done, gopt_string *piece)
{
    if (!s->p)
        return false;
    if (!f->delimiter) {
        for (size_t k = space_at(s->p, s->n); k; k = space_at(s->p, s->n))
            s->p += k, s->n -= k;
        if (!s->n)
            return false;
    }
    *piece = *s;
    size_t end = s->n, after = s->n + 1; /* past the end: nothing comes behind it */
    if (done + 1 < f->most && f->delimiter) {
        for (size_t i = 0; i + f->width <= s->n && end == s->n; i++)
            if (!memcmp(s->p + i, f->delimiter, f->width)) {
                end = i;
                after = i + f->width;
                break;
            }
    } else if (done + 1 < f->most) {
        for (end = 0; end < s->n && !space_at(s->p + end, s->n - end);)
            end++;
        after = end < s->n ? end : s->n + 1; /* the next piece passes over it */
    }
    piece->n = end;
    *s = after > s->n ? (gopt_string){ 0 } : (gopt_string){ .p = s->p + after, .n = s->n - after };
    return true;
}

static gopt_status split_limit(gi_eval *a, splitter *f)
{
    const char *d = gi_attr_str(a->n, StringSplit_at_delimiter);
    *f = (splitter){ .delimiter = d && *d ? d : NULL, .width = d ? strlen(d) : 0, .most = INT64_MAX };
    if (gi_attr_has(a->n, StringSplit_at_maxsplit)) {
        const int64_t splits = gi_attr_int(a->n, StringSplit_at_maxsplit);
        if (splits < 0)
            return gi_eval_fail(a, -1, "attribute maxsplit is %lld, expected 0 or more", (long long)splits);
        f->most = splits < INT64_MAX ? splits + 1 : splits;
    }
    return GOPT_OK;
}

static gopt_status eval_split(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const gopt_string *s = x->data;
    const int64_t n = gopt_tensor_elements(x);
    splitter f;
    gopt_tensor *y, *z;
    GI_TRY(split_limit(a, &f));
    if (x->rank >= GOPT_MAX_RANK)
        return gi_eval_fail(a, 0, "its rank is %d: there is no room for one more", x->rank);
    int64_t *counts = gi_eval_scratch(a, (size_t)n + 1, sizeof *counts), widest = 0;
    GI_NEED(counts);
    for (int64_t i = 0; i < n; i++) {
        gopt_string rest = { .p = s[i].p ? s[i].p : "", .n = s[i].n }, piece;
        while (next_piece(&f, &rest, counts[i], &piece))
            counts[i]++;
        widest = gi_max_i64(widest, counts[i]);
    }
    int64_t dims[GOPT_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank] = widest;
    GI_TRY(gi_eval_out(a, StringSplit_out_Y, GOPT_STRING, x->rank + 1, dims, &y));
    GI_TRY(gi_eval_out(a, StringSplit_out_Z, GOPT_I64, x->rank, x->dims, &z));
    for (int64_t i = 0; y && i < n; i++) {
        gopt_string rest = { .p = s[i].p ? s[i].p : "", .n = s[i].n };
        for (int64_t k = 0; k < counts[i]; k++)
            next_piece(&f, &rest, k, (gopt_string *)y->data + i * widest + k);
    }
    if (z && n)
        memcpy(z->data, counts, (size_t)n * sizeof *counts);
    return GOPT_OK;
}

static gopt_status infer_split(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[GOPT_MAX_RANK];
    if (gi_attr_has(c->n, StringSplit_at_maxsplit) && gi_attr_int(c->n, StringSplit_at_maxsplit) < 0)
        return gi_infer_fail_node(c, "attribute maxsplit is %lld, expected 0 or more",
                                  (long long)gi_attr_int(c->n, StringSplit_at_maxsplit));
    if (rank >= GOPT_MAX_RANK)
        return gi_infer_fail(c, 0, "its rank leaves no room for one more");
    for (int i = 0; i < rank; i++)
        dims[i] = t->dims[i];
    if (rank >= 0)
        dims[rank] = gi_dim_unknown(c->g->dims, true);
    gi_infer_set(c, StringSplit_out_Y, GOPT_STRING, rank < 0 ? -1 : rank + 1, dims);
    gi_infer_set(c, StringSplit_out_Z, GOPT_I64, rank, dims);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/strings.def"
