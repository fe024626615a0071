/* Chains of moves as permutations of atoms (layout.h). */
#include "passes/layout.h"

enum { MAX_CHAIN = 32, MAX_PARTS = 16, MAX_READERS = 64 };

bool gi_is_view(const gi_node *n)
{
    return n && (n->op == OP_Reshape || n->op == OP_Squeeze || n->op == OP_Unsqueeze || n->op == OP_Flatten);
}

bool gi_transpose_perm(const gi_node *n, int64_t *perm, int *rank)
{
    const int64_t *given;
    const uint32_t count = gi_attr_ints(n, Transpose_at_perm, &given);
    bool seen[GOPT_MAX_RANK] = { false };
    *rank = gi_attr_has(n, Transpose_at_perm) ? (int)count : gi_value_rank(gi_node_in(n, 0));
    if (*rank < 0 || *rank > GOPT_MAX_RANK)
        return false;
    for (int i = 0; i < *rank; i++) {
        perm[i] = gi_attr_has(n, Transpose_at_perm) ? given[i] : *rank - 1 - i;
        if (perm[i] < 0 || perm[i] >= *rank || seen[perm[i]])
            return false;
        seen[perm[i]] = true;
    }
    return true;
}

bool gi_swaps_last_two(const gi_node *n)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    if (!n || n->op != OP_Transpose || !gi_transpose_perm(n, perm, &rank) || rank < 2)
        return false;
    for (int i = 0; i < rank - 2; i++)
        if (perm[i] != i)
            return false;
    return perm[rank - 1] == rank - 2;
}

int gi_reshape_target(gopt_graph *g, int rank, const gi_dim *const *from, int rank_to, const gi_dim *const *to,
                      int64_t *target)
{
    int unknown = 0;
    for (int i = 0; i < rank_to; i++) {
        if (gi_dim_is_const(to[i], &target[i])) {
            if (target[i] == 0)
                return -1; /* 0 means another thing there */
        } else if (i < rank && gi_dim_equal(g->dims, to[i], from[i]) == 1) {
            target[i] = 0;
        } else {
            target[i] = -1;
            unknown++;
        }
    }
    return unknown;
}

/* ---- atoms ---- */

bool gi_layout_begin(gi_layout *l, gopt_graph *g, const gi_type *source)
{
    *l = (gi_layout){ .g = g, .source = source };
    if (!source || source->kind != GOPT_TENSOR || source->rank < 0)
        return false;
    l->rank = source->rank;
    for (int i = 0; i < l->rank; i++) {
        const gi_dim *d = source->dims[i];
        if (gi_dim_is(d, 0) || gi_dim_is_unknown(d))
            return false;
        l->dims[i] = d;
        if (!gi_dim_is(d, 1)) {
            l->size[l->n] = d;
            l->from[l->n] = l->to[l->n] = (uint8_t)l->n;
            l->n++;
        }
        l->from_end[i] = l->to_end[i] = l->n;
    }
    return true;
}

bool gi_layout_permute(gi_layout *l, const int64_t *perm, int rank)
{
    const gi_layout was = *l;
    uint32_t n = 0;
    if (rank != l->rank)
        return false;
    for (int i = 0; i < rank; i++) {
        const int64_t p = perm[i];
        for (uint32_t k = p ? was.to_end[p - 1] : 0; k < was.to_end[p]; k++)
            l->to[n++] = was.to[k];
        l->dims[i] = was.dims[p];
        l->to_end[i] = n;
    }
    return true;
}

static void insert(uint8_t *list, uint32_t n, uint32_t at, uint8_t atom)
{
    memmove(list + at + 1, list + at, (n - at) * sizeof *list);
    list[at] = atom;
}

static uint32_t place_of(const uint8_t *list, uint8_t atom)
{
    uint32_t i = 0;
    while (list[i] != atom)
        i++;
    return i;
}

/* Cuts the atom at place k of `to` into `head` and what is left of it. */
static bool cut(gi_layout *l, uint32_t k, const gi_dim *head, const gi_dim *rest)
{
    const uint8_t atom = l->to[k], made = (uint8_t)l->n;
    if (l->n == GI_LAYOUT_ATOMS)
        return false;
    const uint32_t at = place_of(l->from, atom);
    l->size[atom] = head;
    l->size[made] = rest;
    insert(l->from, l->n, at + 1, made);
    insert(l->to, l->n, k + 1, made);
    l->n++;
    for (int i = 0; i < l->source->rank; i++)
        l->from_end[i] += l->from_end[i] > at;
    return true;
}

/* The old atoms, in their order, dealt out to the new dims; those that straddle a border are cut. */
bool gi_layout_view(gi_layout *l, const gi_type *t)
{
    gi_dims *table = l->g->dims;
    uint32_t k = 0;
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0)
        return false;
    for (int i = 0; i < t->rank; i++) {
        const gi_dim *left = t->dims[i];
        while (!gi_dim_is(left, 1)) {
            if (k == l->n)
                return false;
            const gi_dim *atom = l->size[l->to[k]], *part = gi_dim_div_exact(table, left, atom);
            if (!part) {
                part = gi_dim_div_exact(table, atom, left);
                if (!part || !cut(l, k, left, part))
                    return false;
                part = gi_dim_const(table, 1);
            }
            if (!part)
                return false;
            left = part;
            k++;
        }
        l->dims[i] = t->dims[i];
        l->to_end[i] = k;
    }
    l->rank = t->rank;
    return k == l->n;
}

bool gi_is_move(const gi_node *n)
{
    return gi_is_view(n) || (n && n->op == OP_Transpose);
}

bool gi_layout_apply(gi_layout *l, const gi_node *n)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    if (n->op == OP_Transpose)
        return gi_transpose_perm(n, perm, &rank) && gi_layout_permute(l, perm, rank);
    return gi_layout_view(l, n->out[0]->type);
}

/* ---- the fewest nodes ---- */

/* Up to three steps: a shape to be seen in, a permutation of its dims, and the last shape. */
typedef struct steps {
    bool view_first, permute, view_last;
    int rank; /* of what is permuted */
    const gi_dim *dims[GOPT_MAX_RANK];
    int64_t perm[GOPT_MAX_RANK];
} steps;

static uint32_t begin_of(const uint32_t *end, int i)
{
    return i ? end[i - 1] : 0;
}

/* Do the atoms first … end - 1 of `a` stand together and in this order in `b`? *at is where. */
static bool stand_together(const gi_layout *l, const uint8_t *a, uint32_t first, uint32_t end, const uint8_t *b,
                           uint32_t *at)
{
    *at = place_of(b, a[first]);
    if (*at + (end - first) > l->n)
        return false;
    for (uint32_t i = first; i < end; i++)
        if (b[*at + i - first] != a[i])
            return false;
    return true;
}

/* Places (in the other order) of the dims of one side, each of which must stand together there. Dims of 1 have no
 * place: UINT32_MAX. */
static bool places(const gi_layout *l, const uint8_t *own, const uint32_t *end, int rank, const uint8_t *other,
                   uint32_t *at)
{
    for (int i = 0; i < rank; i++) {
        at[i] = UINT32_MAX;
        if (begin_of(end, i) < end[i] && !stand_together(l, own, begin_of(end, i), end[i], other, &at[i]))
            return false;
    }
    return true;
}

/* Dims in the order of their places; those of 1 stay where they are, so that what moves is plain to see. */
static void sort_by_place(const uint32_t *at, int rank, int64_t *perm)
{
    int n = 0;
    for (int i = 0; i < rank; i++) {
        int k = n;
        if (at[i] == UINT32_MAX)
            continue;
        for (; k > 0 && at[perm[k - 1]] > at[i]; k--)
            perm[k] = perm[k - 1];
        perm[k] = i;
        n++;
    }
    for (int i = 0; i < rank; i++) {
        if (at[i] != UINT32_MAX)
            continue;
        const int place = i < n ? i : n;
        memmove(perm + place + 1, perm + place, (size_t)(n - place) * sizeof *perm);
        perm[place] = i;
        n++;
    }
}

/* The source's own dims permuted are the result: perm with dims of 1 wherever the result has them. */
static bool permuted_source(const gi_layout *l, const uint32_t *at, int64_t *perm)
{
    int one = 0;
    if (l->rank != l->source->rank)
        return false;
    for (int i = 0; i < l->rank; i++) {
        perm[i] = -1;
        if (begin_of(l->to_end, i) == l->to_end[i]) {
            while (one < l->rank && at[one] != UINT32_MAX)
                one++;
            perm[i] = one++;
            if (perm[i] >= l->rank)
                return false;
            continue;
        }
        for (int k = 0; k < l->rank; k++)
            if (at[k] == begin_of(l->to_end, i) &&
                l->from_end[k] - begin_of(l->from_end, k) == l->to_end[i] - begin_of(l->to_end, i))
                perm[i] = k;
        if (perm[i] < 0)
            return false;
    }
    return true;
}

static bool same_dims(const gi_layout *l)
{
    if (l->rank != l->source->rank)
        return false;
    for (int i = 0; i < l->rank; i++)
        if (gi_dim_equal(l->g->dims, l->dims[i], l->source->dims[i]) != 1)
            return false;
    return true;
}

/* Atoms that stay neighbours as one dim each. */
static bool coarse(const gi_layout *l, steps *s)
{
    uint32_t at[GOPT_MAX_RANK], place[GI_LAYOUT_ATOMS];
    for (uint32_t i = 0; i < l->n; i++)
        place[l->to[i]] = i;
    s->rank = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        if (i && place[l->from[i]] == place[l->from[i - 1]] + 1) {
            s->dims[s->rank - 1] = gi_dim_mul(l->g->dims, s->dims[s->rank - 1], l->size[l->from[i]]);
            if (!s->dims[s->rank - 1])
                return false;
            continue;
        }
        if (s->rank == GOPT_MAX_RANK)
            return false;
        at[s->rank] = place[l->from[i]];
        s->dims[s->rank++] = l->size[l->from[i]];
    }
    sort_by_place(at, s->rank, s->perm);
    return true;
}

static void plan(const gi_layout *l, steps *s)
{
    uint32_t at[GOPT_MAX_RANK];
    *s = (steps){ .rank = l->source->rank };
    if (!memcmp(l->from, l->to, l->n)) {
        s->view_last = !same_dims(l);
        return;
    }
    s->permute = true;
    for (int i = 0; i < s->rank; i++)
        s->dims[i] = l->source->dims[i];
    if (places(l, l->from, l->from_end, s->rank, l->to, at)) {
        s->view_last = !permuted_source(l, at, s->perm);
        if (s->view_last)
            sort_by_place(at, s->rank, s->perm);
        return;
    }
    s->view_first = true;
    if (places(l, l->to, l->to_end, l->rank, l->from, at)) {
        int64_t order[GOPT_MAX_RANK]; /* the result's dims as the source has them */
        s->rank = l->rank;
        sort_by_place(at, l->rank, order);
        for (int i = 0; i < l->rank; i++) {
            s->dims[i] = l->dims[order[i]];
            s->perm[order[i]] = i;
        }
        return;
    }
    s->view_last = true;
    if (!coarse(l, s))
        s->rank = -1;
}

/* The dims before the last shape. */
static void permuted(const steps *s, const gi_dim **dims)
{
    for (int i = 0; i < s->rank; i++)
        dims[i] = s->permute ? s->dims[s->perm[i]] : s->dims[i];
}

int gi_layout_cost(const gi_layout *l)
{
    steps s;
    int64_t target[GOPT_MAX_RANK];
    const gi_dim *dims[GOPT_MAX_RANK];
    plan(l, &s);
    if (s.rank < 0)
        return -1;
    if (!s.permute)
        for (int i = 0; i < s.rank; i++)
            s.dims[i] = l->source->dims[i];
    permuted(&s, dims);
    int unknown = 0;
    if (s.view_first)
        unknown = gi_reshape_target(l->g, l->source->rank, l->source->dims, s.rank, s.dims, target);
    if (unknown < 0 || unknown > 1)
        return -1;
    if (s.view_last)
        unknown = gi_reshape_target(l->g, s.rank, dims, l->rank, l->dims, target);
    return unknown < 0 || unknown > 1 ? -1 : s.view_first + s.permute + s.view_last;
}

static gi_value *reshape(gi_rewrite *r, gi_value *x, int rank, const gi_dim *const *from, int rank_to,
                         const gi_dim *const *to)
{
    int64_t target[GOPT_MAX_RANK];
    const int unknown = gi_reshape_target(r->g, rank, from, rank_to, to, target);
    gi_value *s = unknown < 0 || unknown > 1 ? NULL : gi_const_i64(r->g, 1, rank_to, target);
    return s ? gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ x, s }) : NULL;
}

gi_value *gi_layout_build(gi_rewrite *r, const gi_layout *l, gi_value *x)
{
    steps s;
    const gi_dim *dims[GOPT_MAX_RANK];
    plan(l, &s);
    if (s.rank < 0)
        return NULL;
    if (!s.permute)
        for (int i = 0; i < s.rank; i++)
            s.dims[i] = l->source->dims[i];
    permuted(&s, dims);
    if (s.view_first)
        x = reshape(r, x, l->source->rank, l->source->dims, s.rank, s.dims);
    if (x && s.permute) {
        gi_node *n = gi_rw_node(r, OP_Transpose, 1, &x, 1);
        x = n && gi_attr_set_ints(n, Transpose_at_perm, (uint32_t)s.rank, s.perm) ? gi_rw_done(r, n) : NULL;
    }
    return x && s.view_last ? reshape(r, x, s.rank, dims, l->rank, l->dims) : x;
}

/* ---- where a value comes from ---- */

/* The layout of v from the far end of the chain that makes it. The last move may have other readers where `shared`. */
static bool read_moves(gi_origin *o, gopt_graph *g, gi_value *v, bool shared, uint32_t *moves)
{
    const gi_node *chain[MAX_CHAIN];
    const gi_block *b = v->kind == GI_DEF_NODE ? v->def.node->block : NULL;
    uint32_t n = 0;
    for (; n < MAX_CHAIN; v = gi_node_in(chain[n++], 0)) {
        chain[n] = gi_value_node(v);
        if (!gi_is_move(chain[n]) || chain[n]->block != b || (v->n_uses != 1 && (n || !shared)))
            break;
    }
    o->x = v;
    *moves = n;
    if (!v || !gi_layout_begin(&o->l, g, v->type))
        return false;
    for (uint32_t i = n; i-- > 0;)
        if (!gi_layout_apply(&o->l, chain[i]))
            return false;
    return true;
}

static void drop(uint8_t *list, uint32_t n, uint32_t at)
{
    memmove(list + at, list + at + 1, (n - at - 1) * sizeof *list);
}

/* Takes one atom out of the layout; the last atom then has its number. */
static void take_atom(gi_layout *l, uint32_t from, uint32_t to)
{
    const uint8_t atom = l->to[to];
    drop(l->from, l->n, from);
    drop(l->to, l->n, to);
    for (int i = 0; i < l->source->rank; i++)
        l->from_end[i] -= l->from_end[i] > from;
    l->n--;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->from[i] == l->n)
            l->from[i] = atom;
        if (l->to[i] == l->n)
            l->to[i] = atom;
    }
    l->size[atom] = l->size[l->n];
}

/* From the moved value to its entry `index` of dim `axis`: the source becomes the part where that lies. The dim must
 * be one whole atom that leads a dim of the source. */
static bool take_entry(gi_origin *o, int axis, int64_t index)
{
    gi_layout *l = &o->l;
    const uint32_t at = begin_of(l->to_end, axis);
    int64_t dim;
    if (l->to_end[axis] != at + 1 || !gi_dim_is_const(l->dims[axis], &o->count) || o->count > MAX_PARTS)
        return false;
    const uint32_t place = place_of(l->from, l->to[at]);
    o->axis = 0;
    while (l->from_end[o->axis] <= place)
        o->axis++;
    if (place != begin_of(l->from_end, o->axis) || !gi_dim_is_const(l->source->dims[o->axis], &dim) ||
        index < -o->count || index >= o->count)
        return false;
    o->index = index < 0 ? index + o->count : index;
    o->size = dim / o->count; /* exactly: the atom leads the dim */
    const gi_dim *dims[GOPT_MAX_RANK];
    memcpy(dims, l->source->dims, (size_t)l->source->rank * sizeof *dims);
    dims[o->axis] = gi_dim_const(l->g->dims, o->size);
    const gi_type *part = dims[o->axis] ? gi_type_tensor(l->g->types, l->source->dtype, l->source->rank, dims) : NULL;
    if (!part)
        return false;
    take_atom(l, place, at);
    l->source = part;
    for (int i = axis; i + 1 < l->rank; i++) {
        l->dims[i] = l->dims[i + 1];
        l->to_end[i] = l->to_end[i + 1] - 1;
    }
    l->rank--;
    return true;
}

/* Is n a Gather of one entry that is known now? */
static bool takes_one(const gi_node *n, int64_t *index, int *axis)
{
    uint32_t count;
    const gi_value *i = n && n->op == OP_Gather ? gi_node_in(n, Gather_in_indices) : NULL;
    return gi_value_blob(i) && gi_value_rank(i) == 0 && gi_value_ints(i, index, 1, &count) && count == 1 &&
           gi_axis(gi_attr_int(n, Gather_at_axis), gi_value_rank(gi_node_in(n, Gather_in_data)), axis);
}

/* The part that a Gather takes; *o is left alone where it takes none. */
static bool find_part(gi_origin *o, gopt_graph *g, const gi_node *gather)
{
    int64_t index, other;
    int axis, its;
    gi_origin p = { .gather = gather, .moves = o->moves };
    if (!takes_one(gather, &index, &axis))
        return false;
    gi_value *z = gi_node_in(gather, Gather_in_data);
    if (z->n_uses > MAX_READERS || !read_moves(&p, g, z, true, &p.moves_before) || !p.moves_before ||
        !take_entry(&p, axis, index))
        return false;
    for (const gi_use *u = z->uses; u; u = u->next)
        if (!u->node || u->index != Gather_in_data || u->node->block != gather->block ||
            !takes_one(u->node, &other, &its) || its != axis)
            return false;
    *o = p;
    return true;
}

bool gi_origin_find(gi_origin *o, gopt_graph *g, gi_value *v)
{
    const gi_node *chain[MAX_CHAIN];
    *o = (gi_origin){ .x = v };
    if (!read_moves(o, g, v, true, &o->moves))
        return false;
    const gi_node *gather = gi_value_node(o->x);
    uint32_t n = 0;
    for (gi_value *w = v; w != o->x; w = gi_node_in(chain[n++], 0))
        chain[n] = gi_value_node(w);
    if ((o->moves && o->x->n_uses != 1) || !find_part(o, g, gather))
        return true;
    while (n-- > 0)
        if (!gi_layout_apply(&o->l, chain[n]))
            return false;
    return true;
}

gi_value *gi_origin_source(gi_rewrite *r, const gi_origin *o)
{
    int64_t sizes[MAX_PARTS];
    if (!o->count)
        return o->x;
    for (int64_t i = 0; i < o->count; i++)
        sizes[i] = o->size;
    gi_value *s = gi_const_i64(r->g, 1, o->count, sizes);
    gi_node *split = s ? gi_rw_node(r, OP_Split, 2, (gi_value *[]){ o->x, s }, (uint32_t)o->count) : NULL;
    if (!split)
        return NULL;
    gi_attr_set_int(split, Split_at_axis, o->axis);
    return gi_rw_done(r, split) ? split->out[o->index] : NULL;
}
