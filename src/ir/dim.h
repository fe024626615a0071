/* Dimensions as expressions over named symbols: `batch`, `2*seq+1`, `h/2` (floor division).
 *
 * Expressions are canonical and hash-consed within one table, so equal ones are the same pointer:
 * a sum of integer multiples of products of atoms, an atom being a symbol, a floor division, a minimum or
 * a maximum. Modulo is a - b*floor(a/b), ceiling division -floor(-a/b). The same expressions carry what
 * is known of the contents of small integer tensors, so values may be negative; a symbol that came from
 * a shape is known not to be.
 *
 * Every constructor returns NULL only where there is no memory; arithmetic that would overflow 64 bits
 * yields a fresh unknown. */
#ifndef GI_DIM_H
#define GI_DIM_H

#include "base/base.h"

typedef struct gi_dim gi_dim;
typedef struct gi_dims gi_dims; /* the table */

gi_dims *gi_dims_create(gi_arena *a);

const gi_dim *gi_dim_const(gi_dims *t, int64_t v);
const gi_dim *gi_dim_sym(gi_dims *t, const char *name, bool nonnegative); /* the one of that name */
const gi_dim *gi_dim_unknown(gi_dims *t, bool nonnegative);               /* a fresh one, printed ?1, ?2 */
const gi_dim *gi_dim_add(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_dim_sub(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_dim_mul(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_dim_floordiv(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_dim_ceildiv(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_dim_mod(gi_dims *t, const gi_dim *a, const gi_dim *b); /* sign of the divisor */
const gi_dim *gi_dim_min(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_dim_max(gi_dims *t, const gi_dim *a, const gi_dim *b);

/* a / b where it is exact for every value of the symbols and that can be seen; NULL otherwise. */
const gi_dim *gi_dim_div_exact(gi_dims *t, const gi_dim *a, const gi_dim *b);

bool gi_dim_is_const(const gi_dim *d, int64_t *v); /* v may be NULL */
bool gi_dim_is(const gi_dim *d, int64_t v);        /* is it this constant? */
const char *gi_dim_symbol(const gi_dim *d);        /* its name if it is a lone symbol, else NULL */
bool gi_dim_is_unknown(const gi_dim *d);           /* holds a fresh unknown anywhere */

/* A bound that holds for all values of the symbols; false where none is known. */
bool gi_dim_lower(const gi_dim *d, int64_t *bound);
bool gi_dim_upper(const gi_dim *d, int64_t *bound);

/* Is a == b decided? 1 equal always, 0 never, -1 depends. */
int gi_dim_equal(gi_dims *t, const gi_dim *a, const gi_dim *b);

/* Prints without spaces: 2*seq+1, (h-1)/2, min(a,b). Parsing gives the same pointer back; NULL on a
 * syntax error. `end` receives where it stopped. Names that are no identifiers print in backquotes. */
void gi_dim_print(gi_str *s, const gi_dim *d);
const gi_dim *gi_dim_parse(gi_dims *t, const char *text, const char **end);

/* Values for symbols. gi_dim_eval is false where a symbol is unbound or arithmetic overflows. */
typedef struct gi_binding {
    const gi_dim *symbol;
    int64_t value;
} gi_binding;
bool gi_dim_eval(const gi_dim *d, const gi_binding *b, size_t n, int64_t *out);
/* With the same value for every symbol. */
bool gi_dim_eval_each(const gi_dim *d, int64_t value, int64_t *out);

/* d with the bound symbols replaced. */
const gi_dim *gi_dim_subst(gi_dims *t, const gi_dim *d, const gi_binding *b, size_t n);

/* The same expression in another table. */
const gi_dim *gi_dim_import(gi_dims *t, const gi_dim *d);

/* Likewise, with other names for its symbols: no two may get the same. */
const gi_dim *gi_dim_import_named(gi_dims *t, const gi_dim *d, const char *(*name)(void *arg, const gi_dim *symbol),
                                  void *arg);

/* Calls f for every symbol in d. */
void gi_dim_each_symbol(const gi_dim *d, void (*f)(void *arg, const gi_dim *symbol), void *arg);

/* Order by structure, the same in every run; 0 only for the same pointer. */
int gi_dim_cmp(const gi_dim *a, const gi_dim *b);

#endif
