/* Regular expressions in RE2's syntax (https://github.com/google/re2/wiki/Syntax), matched by PCRE2.
 *
 * RE2 promises a time linear in the text: so does PCRE2's other matcher, pcre2_dfa_match, which follows all
 * alternatives at once and never goes back. (pcre2_match takes exponential time for (a+)+b.) Both answer whether the
 * whole text matches in the same way, for without captures and lookaround there is but one answer.
 *
 * PCRE2 reads nearly all of RE2's syntax as RE2 does. What RE2 has not is refused; \s, \v and $ mean other things
 * there and are written anew. */
#include "ops/eval.h"
#include "ops/infer.h"

#ifdef GI_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* ---- RE2's syntax ---- */

/* Escapes by letter that PCRE2 has and RE2 has not. (\C is any byte: of no meaning in UTF-8.) */
static const char *const no_escapes = "eghkloucCEGHKLNRUVXZ";

typedef struct rewriter {
    gi_str out;
    const char *p; /* what comes next */
    bool in_class;
    const char *lacks; /* what RE2 does not know, in words; NULL while all is well */
} rewriter;

static void escape(rewriter *r)
{
    const char c = r->p[1];
    if (c == 'Q' && !r->in_class) { /* up to \E, or to the end */
        const char *end = strstr(r->p + 2, "\\E");
        const char *stop = end ? end + 2 : r->p + strlen(r->p);
        gi_str_addn(&r->out, r->p, (size_t)(stop - r->p));
        r->p = stop;
        return;
    }
    if (c >= '0' && c <= '7' && (c == '0' || (r->p[2] >= '0' && r->p[2] <= '7'))) { /* up to three octal digits */
        unsigned value = 0;
        r->p++;
        for (int i = 0; i < 3 && *r->p >= '0' && *r->p <= '7'; i++)
            value = value * 8 + (unsigned)(*r->p++ - '0');
        gi_str_addf(&r->out, "\\x{%x}", value);
        return;
    }
    if (!c)
        r->lacks = "a \\ at its end";
    else if (c >= '1' && c <= '9')
        r->lacks = "a reference back to a group";
    else if (strchr(no_escapes, c))
        r->lacks = "an escape that is none there";
    else if (c == 's')
        gi_str_add(&r->out, r->in_class ? "\\t\\n\\f\\r\\x20" : "[\\t\\n\\f\\r\\x20]");
    else if (c == 'S')
        gi_str_add(&r->out, r->in_class ? "\\S\\x0b" : "[\\S\\x0b]");
    else if (c == 'v')
        gi_str_add(&r->out, "\\x0b");
    else if (strchr("pPx", c) && r->p[2] == '{') {
        const size_t n = strcspn(r->p, "}");
        gi_str_addn(&r->out, r->p, n + (r->p[n] == '}'));
        r->p += n + (r->p[n] == '}');
        return;
    } else {
        gi_str_addn(&r->out, r->p, 2);
    }
    r->p += 2;
}

/* Behind a "(": flags, a group without or with a name; no lookaround, condition or comment. */
static void group(rewriter *r)
{
    const char *p = r->p + 1;
    if (*p == '*')
        r->lacks = "a verb (*...)";
    else if (*p == '?' && (p[1] == 'P'   ? p[2] != '<'
                           : p[1] == '<' ? p[2] == '=' || p[2] == '!'
                                         : !strchr("imsU-:", p[1])))
        r->lacks = "a group that looks around, is atomic, conditional or a comment";
    gi_str_add(&r->out, "(");
    r->p = p;
}

/* [...] up to its end: classes such as [:alpha:] keep their brackets. */
static void class_part(rewriter *r)
{
    if (r->p[0] == '[' && r->p[1] == ':') {
        const char *end = strstr(r->p + 2, ":]");
        if (end) {
            gi_str_addn(&r->out, r->p, (size_t)(end + 2 - r->p));
            r->p = end + 2;
            return;
        }
    }
    if (*r->p == '[')
        gi_str_add(&r->out, "\\"); /* a bracket by itself */
    if (*r->p == ']')
        r->in_class = false;
    gi_str_addn(&r->out, r->p++, 1);
}

/* The pattern as PCRE2 is to read it. */
static void rewrite(rewriter *r)
{
    bool repeated = false; /* behind *, +, ? or {…}: a "+" more is possessive in PCRE2 and an error in RE2 */
    while (*r->p && !r->lacks) {
        const char c = *r->p;
        const bool was = repeated;
        repeated = false;
        if (c == '\\') {
            escape(r);
        } else if (r->in_class) {
            class_part(r);
        } else if (c == '(') {
            group(r);
        } else if (c == '[') {
            r->in_class = true;
            const size_t n = r->p[1] == '^' ? (r->p[2] == ']' ? 3u : 2u) : r->p[1] == ']' ? 2u : 1u;
            gi_str_addn(&r->out, r->p, n);
            r->p += n;
        } else {
            if (c == '+' && was)
                r->lacks = "a repetition that keeps what it took";
            repeated = c == '*' || c == '+' || c == '?' || c == '}';
            gi_str_addn(&r->out, r->p++, 1);
        }
    }
}

/* `name` is the attribute that holds the pattern. */
static gopt_status compile(gi_eval *a, const char *name, const char *pattern, pcre2_code **out)
{
    rewriter r = { .p = pattern ? pattern : "" };
    gi_str_init(&r.out, a->scratch);
    gi_str_add(&r.out, "");
    rewrite(&r);
    GI_NEED(!r.out.failed);
    if (r.lacks)
        return gi_eval_fail(a, -1, "attribute %s is '%.200s', which holds %s: RE2 does not know that", name, pattern,
                            r.lacks);
    pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
    GI_NEED(cc);
    pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
    pcre2_set_max_pattern_length(cc, 1 << 20);
    int error;
    PCRE2_SIZE at;
    const uint32_t options =
        PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE | PCRE2_NO_START_OPTIMIZE;
    *out = pcre2_compile((PCRE2_SPTR)r.out.p, r.out.n, options, &error, &at, cc);
    pcre2_compile_context_free(cc);
    if (*out)
        return GOPT_OK;
    PCRE2_UCHAR message[160] = "";
    pcre2_get_error_message(error, message, sizeof message);
    return gi_eval_fail(a, -1, "attribute %s is '%.200s', which is no regular expression: %s (near its place %zu)",
                        name, pattern, (const char *)message, (size_t)at);
}

/* ---- matching ---- */

enum { FIRST_WORKSPACE = 1 << 10, MOST_WORKSPACE = 1 << 22 }; /* ints: what states PCRE2 may follow at once */

typedef struct matcher {
    pcre2_code *code;
    pcre2_match_data *found;
    int *workspace;
    size_t size;
} matcher;

/* Looks for the longest of the first matches from byte `from` on, where `options` do not say otherwise; false in *found
 * where there is none. */
static gopt_status find(gi_eval *a, matcher *m, const gopt_string *s, size_t from, uint32_t options, bool *found)
{
    for (;;) {
        const int rc = pcre2_dfa_match(m->code, (PCRE2_SPTR)(s->p ? s->p : ""), s->n, from, options, m->found, NULL,
                                       m->workspace, m->size);
        if (rc == PCRE2_ERROR_DFA_WSSIZE && m->size < MOST_WORKSPACE) {
            m->size *= 4;
            m->workspace = gi_eval_scratch(a, m->size, sizeof *m->workspace);
            GI_NEED(m->workspace);
            continue;
        }
        *found = rc >= 0;
        if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
            return GOPT_OK;
        PCRE2_UCHAR message[160] = "";
        pcre2_get_error_message(rc, message, sizeof message);
        return gi_eval_fail(a, 0, "matching a string of %zu bytes: %s", s->n, (const char *)message);
    }
}

static gopt_status open_matcher(gi_eval *a, const char *name, const char *pattern, matcher *m)
{
    pcre2_code *code;
    *m = (matcher){ .size = FIRST_WORKSPACE };
    GI_TRY(compile(a, name, pattern, &code));
    m->code = code;
    m->found = pcre2_match_data_create(1, NULL);
    m->workspace = gi_eval_scratch(a, m->size, sizeof *m->workspace);
    return m->found && m->workspace ? GOPT_OK : GOPT_NO_MEMORY;
}

static void close_matcher(matcher *m)
{
    pcre2_match_data_free(m->found);
    pcre2_code_free(m->code);
}

static gopt_status eval_full_match(gi_eval *a)
{
    const gopt_tensor *x = a->in[RegexFullMatch_in_X];
    gopt_tensor *y;
    matcher m;
    GI_TRY(gi_eval_out(a, 0, GOPT_BOOL, x->rank, x->dims, &y));
    const char *pattern = gi_attr_str(a->n, RegexFullMatch_at_pattern);
    gopt_status st = open_matcher(a, "pattern", pattern ? pattern : "", &m);
    for (int64_t i = 0, n = gopt_tensor_elements(x); y && i < n && st == GOPT_OK; i++) {
        bool found = false;
        st = find(a, &m, (const gopt_string *)x->data + i, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &found);
        ((uint8_t *)y->data)[i] = found;
    }
    close_matcher(&m);
    return st;
}

/* ---- Tokenizer ---- */

typedef struct tokens {
    gopt_string *p;
    size_t n, cap;
} tokens;

/* Keeps a token of at least `least` characters. */
static gopt_status keep(gi_eval *a, tokens *to, const char *p, size_t n, int64_t least)
{
    int64_t characters = 0;
    for (size_t i = 0; i < n; i++)
        characters += ((uint8_t)p[i] & 0xc0) != 0x80;
    if (!n || characters < least)
        return GOPT_OK;
    return gi_push(a->scratch, to, (gopt_string){ .p = p, .n = n }) ? GOPT_OK : GOPT_NO_MEMORY;
}

static size_t next_character(const gopt_string *s, size_t at)
{
    do
        at++;
    while (at < s->n && ((uint8_t)s->p[at] & 0xc0) == 0x80);
    return at;
}

/* Splits s at what m matches, or takes what it matches. Matches of nothing are passed over. */
static gopt_status cut(gi_eval *a, matcher *m, bool split, const gopt_string *s, int64_t least, tokens *to)
{
    size_t from = 0, at = 0; /* of the token, of the search */
    while (at <= s->n) {
        bool found;
        GI_TRY(find(a, m, s, at, 0, &found));
        if (!found)
            break;
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->found);
        if (v[1] == v[0]) {
            at = next_character(s, v[0]);
            continue;
        }
        GI_TRY(split ? keep(a, to, s->p + from, v[0] - from, least) : keep(a, to, s->p + v[0], v[1] - v[0], least));
        from = at = v[1];
    }
    return split ? keep(a, to, s->p + from, s->n - from, least) : GOPT_OK;
}

typedef struct tokenizer {
    matcher *m; /* separators, one after the other; or one expression */
    uint32_t n;
    bool split, letters; /* at separators; each character by itself */
    int64_t least;
} tokenizer;

static gopt_status tokenize(gi_eval *a, const tokenizer *k, const gopt_string *s, tokens *to)
{
    *to = (tokens){ 0 };
    if (!s->n)
        return GOPT_OK;
    if (k->letters) {
        for (size_t at = 0, end; at < s->n; at = end) {
            end = next_character(s, at);
            GI_TRY(keep(a, to, s->p + at, end - at, 1));
        }
        return GOPT_OK;
    }
    GI_NEED(gi_push(a->scratch, to, *s));
    for (uint32_t i = 0; i < k->n; i++) {
        tokens next = { 0 };
        for (size_t j = 0; j < to->n; j++)
            GI_TRY(cut(a, &k->m[i], k->split, &to->p[j], k->least, &next));
        *to = next;
    }
    return GOPT_OK;
}

/* All strings' tokens, filled up to as many as the longest has. */
static gopt_status tokenize_all(gi_eval *a, const tokenizer *k)
{
    const gopt_tensor *x = a->in[0];
    const int64_t n = gopt_tensor_elements(x);
    const char *fill = gi_attr_str(a->n, Tokenizer_at_pad_value);
    const size_t mark = gi_attr_int(a->n, Tokenizer_at_mark) != 0;
    tokens *all = gi_eval_scratch(a, (size_t)n + 1, sizeof *all);
    size_t most = 0;
    gopt_tensor *y;
    GI_NEED(all);
    for (int64_t i = 0; i < n; i++) {
        GI_TRY(tokenize(a, k, (const gopt_string *)x->data + i, &all[i]));
        most = all[i].n > most ? all[i].n : most;
    }
    int64_t dims[GOPT_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank] = (int64_t)(most || !mark ? most + 2 * mark : 0);
    GI_TRY(gi_eval_out(a, 0, GOPT_STRING, x->rank + 1, dims, &y));
    gopt_string *to = y ? y->data : NULL;
    for (int64_t i = 0; y && i < n && dims[x->rank]; i++, to += dims[x->rank]) {
        for (int64_t j = 0; j < dims[x->rank]; j++)
            to[j] = (gopt_string){ .p = fill, .n = strlen(fill) };
        if (mark) { /* start of text, end of text */
            to[0] = (gopt_string){ .p = "\x02", .n = 1 };
            to[all[i].n + 1] = (gopt_string){ .p = "\x03", .n = 1 };
        }
        if (all[i].n)
            memcpy(to + mark, all[i].p, all[i].n * sizeof *to);
    }
    return GOPT_OK;
}

static gopt_status eval_tokenizer(gi_eval *a)
{
    const char *expression = gi_attr_str(a->n, Tokenizer_at_tokenexp);
    const char *const *separators = NULL;
    const uint32_t n = gi_attr_strings(a->n, Tokenizer_at_separators, &separators);
    tokenizer k = { .split = n > 0, .least = gi_attr_int(a->n, Tokenizer_at_mincharnum) };
    if (a->in[0]->rank < 1 || a->in[0]->rank > 2)
        return gi_eval_fail(a, 0, "its rank is %d, expected 1 or 2", a->in[0]->rank);
    if ((n > 0) == (expression && *expression))
        return gi_eval_fail(a, -1, "expected one of the attributes separators and tokenexp");
    k.letters = n == 1 && !*separators[0];
    k.m = gi_eval_scratch(a, n + 1u, sizeof *k.m);
    GI_NEED(k.m);
    gopt_status st = GOPT_OK;
    for (uint32_t i = 0; i < (n ? n : 1) && !k.letters && st == GOPT_OK; i++, k.n++)
        st = n ? open_matcher(a, "separators", separators[i], &k.m[i])
               : open_matcher(a, "tokenexp", expression, &k.m[i]);
    if (st == GOPT_OK)
        st = tokenize_all(a, &k);
    for (uint32_t i = 0; i < k.n; i++)
        close_matcher(&k.m[i]);
    return st;
}

#else

static gopt_status without_pcre2(const gi_eval *a)
{
    const gi_place at = gi_node_place(a->n);
    return gi_fail(a->cx, GOPT_UNSUPPORTED, &at,
                   "install PCRE2's library (Debian and Ubuntu: apt-get install libpcre2-dev) and build again",
                   "this build has no regular expressions: it was made without PCRE2");
}

static gopt_status eval_full_match(gi_eval *a)
{
    return without_pcre2(a);
}

static gopt_status eval_tokenizer(gi_eval *a)
{
    return without_pcre2(a);
}

#endif

static gopt_status infer_tokenizer(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[3];
    if (rank == 0 || rank > 2)
        return gi_infer_fail(c, 0, "expected rank 1 or 2");
    for (int i = 0; i < rank; i++)
        dims[i] = t->dims[i];
    if (rank > 0)
        dims[rank] = gi_dim_unknown(c->g->dims, true);
    gi_infer_set(c, 0, GOPT_STRING, rank < 0 ? -1 : rank + 1, dims);
    return GOPT_OK;
}

static gopt_status infer_full_match(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    gi_infer_set(c, 0, GOPT_BOOL, t ? t->rank : -1, t ? t->dims : NULL);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/regex.def"
