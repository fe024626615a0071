/* Numbering of unknown dims; dim_number.h says what for.
 *
 * Terms stand in the order of their symbols' names, so new numbers may turn an expression around: with ?7 and ?9
 * numbered 3 and 2, ?7+2*?9 is 2*?2+?3. Where several unknowns come up in one expression first, they are numbered again
 * by the order that they then stand in, until that is the order of the numbers: what reads the text and numbers it
 * finds nothing to change. A few rounds do; where they do not, the numbers are still right, only less canonical. */
#include "ir/dim_number.h"

#include <stdlib.h>

enum { ROUNDS = 8 };

bool gi_dim_numbers_init(gi_dim_numbers *n, gi_arena *a)
{
    *n = (gi_dim_numbers){ .arena = a, .dims = gi_dims_create(a) };
    gi_map_init(&n->number, a);
    gi_map_init(&n->done, a);
    return n->dims != NULL;
}

/* ?1, ?2, …: not ?x, and not ?01. */
static bool has_number(const gi_dim *symbol)
{
    const char *name = gi_dim_symbol(symbol);
    return name && name[0] == '?' && name[1] >= '1' && name[1] <= '9' && !name[1 + strspn(name + 1, "0123456789")];
}

typedef struct meeting {
    gi_dim_numbers *n;
    bool failed;
} meeting;

static void meet(void *arg, const gi_dim *symbol)
{
    meeting *m = arg;
    gi_dim_numbers *n = m->n;
    if (m->failed || !has_number(symbol) || gi_map_get(&n->number, gi_key(symbol)))
        return;
    uint64_t *number = GI_NEW(n->arena, uint64_t);
    m->failed = !number || !gi_push(n->arena, &n->numbers, number) || !gi_map_put(&n->number, gi_key(symbol), number);
    if (!m->failed)
        *number = n->numbers.n;
}

static const char *name_of(void *arg, const gi_dim *symbol)
{
    gi_dim_numbers *n = arg;
    const uint64_t *number = gi_map_get(&n->number, gi_key(symbol));
    if (!number)
        return gi_dim_symbol(symbol);
    snprintf(n->name, sizeof n->name, "?%llu", (unsigned long long)*number);
    return n->name;
}

/* Numbers above `above` in the order that they stand in. */
typedef struct standing {
    gi_arena *arena;
    size_t above, n;
    uint64_t *becomes; /* of number above + 1 + i; 0 where it has not come up */
    bool moved;
} standing;

static void stand(void *arg, const gi_dim *symbol)
{
    standing *s = arg;
    if (!has_number(symbol))
        return;
    const uint64_t number = strtoull(gi_dim_symbol(symbol) + 1, NULL, 10);
    if (number <= s->above || s->becomes[number - s->above - 1])
        return;
    s->becomes[number - s->above - 1] = s->above + ++s->n;
    s->moved |= number != s->above + s->n;
}

const gi_dim *gi_dim_numbered(gi_dim_numbers *n, const gi_dim *d)
{
    if (!gi_dim_is_unknown(d))
        return d;
    const gi_dim *made = gi_map_get(&n->done, gi_key(d));
    if (made)
        return made;
    const size_t above = n->numbers.n;
    meeting m = { .n = n };
    gi_dim_each_symbol(d, meet, &m);
    if (m.failed)
        return NULL;
    made = gi_dim_import_named(n->dims, d, name_of, n);
    const size_t more = n->numbers.n - above;
    for (int round = 0; made && more > 1 && round < ROUNDS; round++) {
        standing s = { .arena = n->arena, .above = above, .becomes = GI_NEW_ARRAY(n->arena, uint64_t, more) };
        if (!s.becomes)
            return NULL;
        gi_dim_each_symbol(made, stand, &s);
        if (!s.moved)
            break;
        for (size_t i = above; i < n->numbers.n; i++)
            *n->numbers.p[i] = s.becomes[*n->numbers.p[i] - above - 1];
        made = gi_dim_import_named(n->dims, d, name_of, n);
    }
    return made && gi_map_put(&n->done, gi_key(d), (void *)(uintptr_t)made) ? made : NULL;
}
