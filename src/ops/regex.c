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

static gopt_status compile(gi_eval *a, pcre2_code **out)
{
    const char *pattern = gi_attr_str(a->n, RegexFullMatch_at_pattern);
    rewriter r = { .p = pattern ? pattern : "" };
    gi_str_init(&r.out, a->scratch);
    gi_str_add(&r.out, "");
    rewrite(&r);
    GI_NEED(!r.out.failed);
    if (r.lacks)
        return gi_eval_fail(a, -1, "attribute pattern is '%.200s', which holds %s: RE2 does not know that", pattern,
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
    return gi_eval_fail(a, -1, "attribute pattern is '%.200s', which is no regular expression: %s (near its place %zu)",
                        pattern, (const char *)message, (size_t)at);
}

/* ---- matching ---- */

enum { FIRST_WORKSPACE = 1 << 10, MOST_WORKSPACE = 1 << 22 }; /* ints: what states PCRE2 may follow at once */

typedef struct matcher {
    const pcre2_code *code;
    pcre2_match_data *found;
    int *workspace;
    size_t size;
} matcher;

static gopt_status match_one(gi_eval *a, matcher *m, const gopt_string *s, uint8_t *y)
{
    for (;;) {
        const int rc = pcre2_dfa_match(m->code, (PCRE2_SPTR)(s->p ? s->p : ""), s->n, 0,
                                       PCRE2_ANCHORED | PCRE2_ENDANCHORED, m->found, NULL, m->workspace, m->size);
        if (rc == PCRE2_ERROR_DFA_WSSIZE && m->size < MOST_WORKSPACE) {
            m->size *= 4;
            m->workspace = gi_eval_scratch(a, m->size, sizeof *m->workspace);
            GI_NEED(m->workspace);
            continue;
        }
        if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH) {
            *y = rc >= 0;
            return GOPT_OK;
        }
        PCRE2_UCHAR message[160] = "";
        pcre2_get_error_message(rc, message, sizeof message);
        return gi_eval_fail(a, RegexFullMatch_in_X, "matching a string of %zu bytes: %s", s->n, (const char *)message);
    }
}

static gopt_status eval_full_match(gi_eval *a)
{
    const gopt_tensor *x = a->in[RegexFullMatch_in_X];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_BOOL, x->rank, x->dims, &y));
    pcre2_code *code;
    GI_TRY(compile(a, &code));
    matcher m = { .code = code, .found = pcre2_match_data_create(1, NULL), .size = FIRST_WORKSPACE };
    m.workspace = gi_eval_scratch(a, m.size, sizeof *m.workspace);
    gopt_status st = m.found && m.workspace ? GOPT_OK : GOPT_NO_MEMORY;
    for (int64_t i = 0, n = gopt_tensor_elements(x); y && i < n && st == GOPT_OK; i++)
        st = match_one(a, &m, (const gopt_string *)x->data + i, (uint8_t *)y->data + i);
    pcre2_match_data_free(m.found);
    pcre2_code_free(code);
    return st;
}

#else

static gopt_status eval_full_match(gi_eval *a)
{
    const gi_place at = gi_node_place(a->n);
    return gi_fail(a->cx, GOPT_UNSUPPORTED, &at,
                   "install PCRE2's library (Debian and Ubuntu: apt-get install libpcre2-dev) and build again",
                   "this build has no regular expressions: it was made without PCRE2");
}

#endif

static gopt_status infer_full_match(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    gi_infer_set(c, 0, GOPT_BOOL, t ? t->rank : -1, t ? t->dims : NULL);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/regex.def"
