/* The words of the text form: what parse.c reads the graph from.
 *
 * Whoever finds something else than expected says so with gi_lex_fail, which gives false, and so does the caller: the
 * first fault is kept, with its line. Blanks and comments are passed over before everything. */
#ifndef GI_IR_LEX_H
#define GI_IR_LEX_H

#include <ctype.h>

#include "ir/text.h"

typedef struct gi_lex {
    gopt_ctx *cx;
    gi_arena *arena;   /* of what is kept */
    gi_arena *scratch; /* of words */
    const char *file, *p, *end, *start;
    gopt_status status;
} gi_lex;

bool gi_lex_fail(gi_lex *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool gi_lex_no_memory(gi_lex *l);

void gi_lex_skip(gi_lex *l); /* blanks and comments */
bool gi_lex_peek(gi_lex *l, char c);
bool gi_lex_take(gi_lex *l, char c);
bool gi_lex_expect(gi_lex *l, char c); /* a fault where something else stands here */

static inline bool gi_lex_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* -1 where it is none. */
static inline int gi_lex_hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A word of letters, digits, _ and dots, in scratch; NULL where none stands here. */
const char *gi_lex_word(gi_lex *l);
bool gi_lex_take_word(gi_lex *l, const char *w);
bool gi_lex_quoted(gi_lex *l, const char **out, size_t *n); /* "text", kept; n may be NULL where it has no zeros */
bool gi_lex_name(gi_lex *l, const char **out);              /* a word or a quoted text, kept */

bool gi_lex_integer(gi_lex *l, int64_t *v);
bool gi_lex_number(gi_lex *l, double *v);
bool gi_lex_looks_float(gi_lex *l);

#endif
