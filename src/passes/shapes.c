/* Shape arithmetic: what is known to be a list of sizes is computed in the shortest way.
 *
 *     %s = Shape %r                                 %s = Shape %r
 *     %b = Gather %s, [0]                           %y = Reshape %m, %s
 *     %h = Slice %s, [2], [4]                 ⇒
 *     %t = Concat %b, [16], %h
 *     %y = Reshape %m, %t          (%r is f32[b,16,h,w])
 *
 * Exporters take a shape apart and put it together again for every view, each from the tensor at hand. Inference knows
 * the contents of such lists as expressions over the model's symbols: two lists of equal contents are one, and a list
 * that is a run of dims of some tensor, or several runs and constants, is cut from that tensor's Shape, the first that
 * has them. It is done where fewer nodes are left, and never where anything of the contents is unknown.
 *
 * An Expand in front of an operator that broadcasts anyway is not needed, nor with pointwise ones in between:
 *
 *     %e = Expand %k, Shape(%x)      %y = Add %x, %e        ⇒        %y = Add %x, %k
 *
 * One walk in program order: what is found is defined before the node that it is found for. */
#include "passes/util.h"

enum { MOST_DIMS = 16, MOST_PLACES = 8, MOST_CONE = 32 };

/* A dim of a tensor: where a size can be had from. */
typedef struct place {
    gi_value *v;
    int axis;
    struct place *next;
} place;

/* Lists of known contents, of one hash. */
typedef struct known_list {
    gi_value *v;
    struct known_list *next;
} known_list;

typedef struct known_lists {
    known_list *first;
} known_lists;

typedef struct shapes {
    gi_pass_ctx *cx;
    gopt_graph *g;
    gi_map places; /* dim -> places, the earliest first */
    gi_map lists;  /* hash of contents -> known_lists */
    gi_map shape;  /* value id + 1 -> its whole Shape, as i64 */
    bool failed;
} shapes;

/* ---- what there is ---- */

static bool is_list(gi_value *v, uint32_t *n)
{
    const gopt_dtype t = gi_value_dtype(v);
    if ((t != GOPT_I64 && t != GOPT_I32) || gi_value_rank(v) < 0 || gi_value_rank(v) > 1 || v->kind == GI_DEF_CONST)
        return false;
    const gi_dim *const *known = gi_value_known(v, n);
    bool symbolic = false;
    for (uint32_t i = 0; known && i < *n; i++) {
        if (gi_dim_is_unknown(known[i]))
            return false;
        symbolic |= !gi_dim_is_const(known[i], NULL);
    }
    return symbolic && *n <= MOST_DIMS;
}

static uint64_t hash_of(const gi_dim *const *d, uint32_t n, gopt_dtype t, int rank)
{
    return gi_hash(d, n * sizeof *d, (uint64_t)t * 2 + (uint64_t)rank);
}

static gi_value *find_list(shapes *s, const gi_dim *const *d, uint32_t n, gopt_dtype t, int rank, const gi_block *in)
{
    uint32_t m;
    known_lists *lists = gi_map_get(&s->lists, hash_of(d, n, t, rank));
    for (known_list **at = lists ? &lists->first : NULL, *l; at && (l = *at);) {
        const gi_node *made = gi_value_node(l->v);
        if (!made || !made->block || !gi_block_within(in, made->block)) {
            *at = l->next; /* it is gone, or its block is done: nothing will ask for it again */
            continue;
        }
        at = &l->next;
        const gi_dim *const *known = gi_value_known(l->v, &m);
        if (known && m == n && gi_value_dtype(l->v) == t && gi_value_rank(l->v) == rank &&
            !memcmp(known, d, n * sizeof *d))
            return l->v;
    }
    return NULL;
}

static void note_list(shapes *s, gi_value *v)
{
    uint32_t n;
    const gi_dim *const *d = gi_value_known(v, &n);
    known_list *l = GI_NEW(s->cx->scratch, known_list);
    const uint64_t h = hash_of(d, n, gi_value_dtype(v), gi_value_rank(v));
    known_lists *lists = gi_map_get(&s->lists, h);
    if (!lists) {
        lists = GI_NEW(s->cx->scratch, known_lists);
        s->failed |= !lists || !gi_map_put(&s->lists, h, lists);
    }
    if (!l || !lists) {
        s->failed = true;
        return;
    }
    *l = (known_list){ v, lists->first };
    lists->first = l;
}

static bool is_before(const gi_value *v, const gi_block *in)
{
    const gi_block *b = v->kind == GI_DEF_PARAM ? v->def.block : gi_value_node(v) ? v->def.node->block : NULL;
    return b && gi_block_within(in, b);
}

static void note_place(shapes *s, const gi_dim *d, gi_value *v, int axis)
{
    place *first = gi_map_get(&s->places, gi_key(d)), *last = first;
    const gi_block *in = gi_value_node(v) ? v->def.node->block : s->g->main;
    int n = 1;
    for (place *p = first; p; p = p->next) {
        if (!is_before(p->v, in)) { /* gone, or of a block that is done */
            p->v = v;
            p->axis = axis;
            return;
        }
        last = p;
        n++;
    }
    if (n > MOST_PLACES)
        return;
    place *p = GI_NEW(s->cx->scratch, place);
    if (p)
        *p = (place){ v, axis, NULL };
    if (last && p)
        last->next = p;
    else
        s->failed |= !p || !gi_map_put(&s->places, gi_key(d), p);
}

static void note_value(shapes *s, gi_value *v)
{
    uint32_t n;
    for (int i = 0; i < gi_value_rank(v); i++)
        if (!gi_dim_is_const(v->type->dims[i], NULL) && !gi_dim_is_unknown(v->type->dims[i]))
            note_place(s, v->type->dims[i], v, i);
    const gi_node *made = gi_value_node(v);
    if (!made || !is_list(v, &n))
        return;
    note_list(s, v);
    if (made->op == OP_Shape && (int)n == gi_value_rank(gi_node_in(made, 0)) && !gi_attr_has(made, Shape_at_start) &&
        !gi_attr_has(made, Shape_at_end))
        s->failed |= !gi_map_get(&s->shape, (uint64_t)gi_node_in(made, 0)->id + 1) &&
                     !gi_map_put(&s->shape, (uint64_t)gi_node_in(made, 0)->id + 1, v);
}

/* ---- the shortest way ---- */

typedef struct piece {
    gi_value *list;   /* a list that there is */
    gi_value *tensor; /* or a run of dims of this one */
    int axis;
    uint32_t n; /* of the contents; a run of constants where neither is */
    int cost;   /* nodes to be made for it */
} piece;

typedef struct plan {
    piece p[MOST_DIMS + 1]; /* by where it begins */
    int cost[MOST_DIMS + 1], pieces[MOST_DIMS + 1];
    int gain;    /* nodes fewer with it */
    piece whole; /* the cheapest that gives all at once; n is 0 where there is none */
} plan;

static gi_value *shape_of(const shapes *s, const gi_value *v, const gi_block *in)
{
    gi_value *shape = gi_map_get(&s->shape, (uint64_t)v->id + 1);
    const gi_node *made = gi_value_node(shape);
    return made && made->block && gi_block_within(in, made->block) ? shape : NULL;
}

/* What begins at i: the piece with which the least is left to make. */
static void consider(plan *pl, uint32_t i, const piece *p)
{
    const int cost = p->cost + pl->cost[i + p->n], pieces = 1 + pl->pieces[i + p->n];
    if (pl->cost[i + p->n] < 0 ||
        (pl->cost[i] >= 0 && (cost > pl->cost[i] || (cost == pl->cost[i] && pieces >= pl->pieces[i]))))
        return;
    pl->cost[i] = cost;
    pl->pieces[i] = pieces;
    pl->p[i] = *p;
}

/* Runs of dims of some tensor. A whole shape may begin with constants: [1,s,8]. */
static void consider_runs(const shapes *s, plan *pl, const gi_dim *const *d, uint32_t n, uint32_t i, const gi_block *in)
{
    uint32_t ahead = 0;
    while (i + ahead < n && gi_dim_is_const(d[i + ahead], NULL))
        ahead++;
    for (const place *p = i + ahead < n ? gi_map_get(&s->places, gi_key(d[i + ahead])) : NULL; p; p = p->next) {
        const int rank = gi_value_rank(p->v), axis = p->axis - (int)ahead;
        uint32_t run = 0;
        if (!is_before(p->v, in) || axis < 0)
            continue;
        while (i + run < n && axis + (int)run < rank && p->v->type->dims[axis + (int)run] == d[i + run])
            run++;
        const int shape = shape_of(s, p->v, in) ? 0 : 1;
        for (uint32_t k = ahead + 1; k <= run; k++) {
            const int cost = shape + !(axis == 0 && (int)k == rank);
            const piece q = { .tensor = p->v, .axis = axis, .n = k, .cost = cost };
            consider(pl, i, &q);
            if (k == n && (!pl->whole.n || cost < pl->whole.cost))
                pl->whole = q;
        }
    }
}

/* From the end to the front: the cheapest pieces that give the contents. False where some cannot be had. */
static bool make_plan(shapes *s, const gi_dim *const *d, uint32_t n, const gi_block *in, plan *pl)
{
    pl->cost[n] = pl->pieces[n] = 0;
    pl->whole.n = 0;
    for (uint32_t i = n; i-- > 0;) {
        pl->cost[i] = -1; /* nothing yet */
        for (uint32_t k = 1; i + k <= n && gi_dim_is_const(d[i + k - 1], NULL); k++)
            consider(pl, i, &(piece){ .n = k });
        for (uint32_t k = 1; i + k <= n; k++) {
            gi_value *list = find_list(s, d + i, k, GOPT_I64, 1, in);
            if (list)
                consider(pl, i, &(piece){ .list = list, .n = k });
        }
        consider_runs(s, pl, d, n, i, in);
    }
    if (!n || pl->cost[0] < 0)
        return false;
    pl->cost[0] += pl->pieces[0] > 1;
    return true;
}

/* Does the plan read what this node makes? */
static bool is_kept(const shapes *s, const plan *pl, uint32_t n, const gi_node *by, const gi_block *in)
{
    for (uint32_t i = 0; i < n; i += pl->p[i].n) {
        const piece *p = &pl->p[i];
        const gi_value *v = p->list ? p->list : p->tensor ? shape_of(s, p->tensor, in) : NULL;
        if (v && gi_value_node(v) == by)
            return true;
    }
    return false;
}

/* How many nodes go if the plan stands in v's place. */
static int count_going(const shapes *s, const gi_value *v, const plan *pl, uint32_t n)
{
    const gi_node *going[MOST_CONE];
    int count = 0;
    going[count++] = v->def.node;
    for (int i = 0; i < count; i++)
        for (uint32_t k = 0; k < going[i]->n_in && count < MOST_CONE; k++) {
            const gi_node *p = gi_value_node(going[i]->in[k].value);
            bool goes = p && p->block == going[0]->block && p->n_out == 1 && !is_kept(s, pl, n, p, p->block);
            for (int q = 0; q < count && goes; q++)
                goes = going[q] != p;
            for (const gi_use *u = goes ? p->out[0]->uses : NULL; u && goes; u = u->next) {
                bool inside = false;
                for (int q = 0; q < count; q++)
                    inside |= going[q] == u->node;
                goes = inside;
            }
            if (goes)
                going[count++] = p;
        }
    return count;
}

/* ---- building ---- */

static gi_value *build(shapes *s, gi_node *before, gi_opcode op, uint32_t n_in, gi_value *const *in)
{
    gi_node *n = gi_build(before->block, before, op, n_in, in);
    if (n && !gi_node_merge_origins(n, before))
        s->failed = true;
    return n ? n->out[0] : NULL;
}

static gi_value *build_run(shapes *s, gi_node *before, const piece *p, bool scalar)
{
    int64_t at[MOST_DIMS];
    const int rank = gi_value_rank(p->tensor);
    gi_value *shape = shape_of(s, p->tensor, before->block);
    if (!shape) {
        gi_value *tensor = p->tensor;
        shape = build(s, before, OP_Shape, 1, &tensor);
        if (!shape || !gi_map_put(&s->shape, (uint64_t)tensor->id + 1, shape))
            return NULL;
    }
    if (p->axis == 0 && (int)p->n == rank && !scalar)
        return shape;
    for (uint32_t i = 0; i < p->n; i++)
        at[i] = p->axis + (int)i;
    gi_value *list = gi_const_i64(s->g, scalar ? 0 : 1, scalar ? 1 : (int64_t)p->n, at);
    return list ? build(s, before, OP_Gather, 2, (gi_value *[]){ shape, list }) : NULL;
}

static gi_value *build_piece(shapes *s, gi_node *before, const piece *p, const gi_dim *const *d, bool scalar)
{
    int64_t v[MOST_DIMS];
    if (p->list)
        return p->list;
    if (p->tensor)
        return build_run(s, before, p, scalar);
    for (uint32_t i = 0; i < p->n; i++)
        (void)gi_dim_is_const(d[i], &v[i]);
    return gi_const_i64(s->g, 1, p->n, v);
}

static gi_value *build_plan(shapes *s, gi_node *before, const plan *pl, const gi_dim *const *d, uint32_t n, bool scalar)
{
    gi_value *parts[MOST_DIMS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i += pl->p[i].n)
        if (!(parts[count++] = build_piece(s, before, &pl->p[i], d + i, scalar)))
            return NULL;
    if (count == 1)
        return parts[0];
    gi_node *concat = gi_node_create(before->block, before, OP_Concat, count, parts, 1);
    if (!concat || !gi_node_merge_origins(concat, before))
        return NULL;
    gi_attr_set_int(concat, Concat_at_axis, 0);
    return gi_infer_node(concat, s->cx->scratch) == GOPT_OK ? concat->out[0] : NULL;
}

static const char *contents_text(const shapes *s, const gi_dim *const *d, uint32_t n)
{
    gi_str text;
    gi_str_init(&text, s->cx->scratch);
    for (uint32_t i = 0; i < n; i++) {
        gi_str_add(&text, i ? "," : "[");
        gi_dim_print(&text, d[i]);
    }
    return text.p ? text.p : "[";
}

/* How many nodes fewer there are with the plan. */
static int gain_of(const shapes *s, const gi_value *v, const plan *pl, uint32_t count)
{
    const bool cut = gi_value_rank(v) == 0 && gi_value_rank(pl->p[0].tensor) == 1; /* a scalar of a whole shape */
    return count_going(s, v, pl, count) - pl->cost[0] - cut;
}

/* Is there a way to v's contents that leaves fewer nodes? */
static bool find_plan(shapes *s, gi_node *n, const gi_dim *const *d, uint32_t count, plan *pl)
{
    const gi_value *v = n->out[0];
    const bool scalar = gi_value_rank(v) == 0;
    if (gi_value_dtype(v) != GOPT_I64 || n->op == OP_Shape || !make_plan(s, d, count, n->block, pl))
        return false;
    int gain = scalar && (pl->pieces[0] != 1 || !pl->p[0].tensor) ? 0 : gain_of(s, v, pl, count);
    if (pl->whole.n) {
        plan whole = { .p = { pl->whole }, .cost = { pl->whole.cost }, .pieces = { 1 } };
        const int other = gain_of(s, v, &whole, count);
        if (other > gain) {
            gain = other;
            *pl = whole;
        }
    }
    pl->gain = gain;
    return gain > 0;
}

/* Puts the shortest list of these contents in v's place. True where v's node went. */
static bool shorten(shapes *s, gi_node *n)
{
    static const char rule[] = "shape_arithmetic";
    gi_value *v = n->n_out == 1 ? n->out[0] : NULL;
    const char *why;
    uint32_t count;
    plan pl;
    if (!v || !v->n_uses || !is_list(v, &count) || gi_value_is_result(v))
        return false;
    const gi_dim *const *d = gi_value_known(v, &count);
    gi_value *same = find_list(s, d, count, gi_value_dtype(v), gi_value_rank(v), n->block);
    if (!same && !find_plan(s, n, d, count, &pl))
        return false;
    if (same == v || (same && !gi_value_may_replace(v, same, &why)) || !gi_pass_may(s->cx, rule))
        return false;
    gi_value *y = same ? same : build_plan(s, n, &pl, d, count, gi_value_rank(v) == 0);
    if (!y) {
        s->failed = true;
        return false;
    }
    const char *text = contents_text(s, d, count);
    if (same)
        gi_applied(s->cx, rule, n, "it is %s] at every size, as %s is", text, gi_value_ref(y, s->cx->scratch));
    else
        gi_applied(s->cx, rule, n, "it is %s] at every size: that takes %d node%s less in another way", text, pl.gain,
                   pl.gain == 1 ? "" : "s");
    gi_value_replace_uses(v, y);
    gi_remove_dead(n, s->cx->scratch);
    if (!same)
        note_value(s, y);
    return true;
}

/* ---- an Expand that is not needed ---- */

enum { MOST_READERS = 8 };

static bool broadcasts(gi_opcode op)
{
    static const gi_opcode ops[] = { OP_Add, OP_Sub, OP_Mul,   OP_Div,     OP_Min,           OP_Max,
                                     OP_Pow, OP_Mod, OP_Equal, OP_Greater, OP_Less,          OP_LessOrEqual,
                                     OP_And, OP_Or,  OP_Xor,   OP_Where,   OP_GreaterOrEqual };
    for (size_t i = 0; i < GI_COUNT(ops); i++)
        if (ops[i] == op)
            return true;
    return false;
}

/* What the readers of an Expand come to, one behind the other, when the first reads what it expands. */
typedef struct narrowing {
    gi_node *reader[MOST_READERS];
    uint32_t in[MOST_READERS];         /* which operand */
    const gi_type *type[MOST_READERS]; /* of its result then */
    size_t n;
} narrowing;

/* The type of n's result where operand `in` has type x: every dim is that of an operand. NULL where it cannot be told. */
static const gi_type *narrowed(gopt_graph *g, const gi_node *n, uint32_t in, const gi_type *x)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const gi_type *y = n->out[0]->type;
    int rank = 0;
    for (uint32_t q = 0; q < n->n_in; q++) {
        const gi_type *t = q == in ? x : n->in[q].value ? n->in[q].value->type : NULL;
        if (!t || t->kind != GOPT_TENSOR || t->rank < 0)
            return NULL;
        rank = t->rank > rank ? t->rank : rank;
    }
    for (int k = 0; k < rank; k++) {
        dims[k] = NULL;
        for (uint32_t q = 0; q < n->n_in; q++) {
            const gi_type *t = q == in ? x : n->in[q].value->type;
            const gi_dim *d = k - (rank - t->rank) >= 0 ? t->dims[k - (rank - t->rank)] : NULL;
            if (!d || gi_dim_is(d, 1))
                continue;
            if (dims[k] && gi_dim_equal(g->dims, dims[k], d) != 1)
                return NULL;
            dims[k] = d;
        }
        if (!dims[k] && !(dims[k] = gi_dim_const(g->dims, 1)))
            return NULL;
    }
    return gi_type_tensor(g->types, y->dtype, rank, dims);
}

/* Follows the single readers down to one whose result is as wide as before. */
static bool find_narrowing(gopt_graph *g, const gi_node *e, narrowing *w)
{
    const gi_type *t = gi_node_in(e, Expand_in_input) ? gi_node_in(e, Expand_in_input)->type : NULL;
    const gi_value *v = e->out[0];
    for (w->n = 0; w->n < MOST_READERS; w->n++) {
        gi_node *u = gi_value_only_user(v);
        const bool unary = u && u->n_in == 1 && (gi_op_get(u->op)->traits & GI_ELEMENTWISE);
        if (!t || !u || u->block != e->block || u->n_out != 1 || !u->out[0]->type || (!unary && !broadcasts(u->op)))
            return false;
        t = narrowed(g, u, v->uses->index, t);
        w->reader[w->n] = u;
        w->in[w->n] = v->uses->index;
        w->type[w->n] = t;
        if (t && gi_type_same(g, t, u->out[0]->type)) {
            w->n++;
            return true;
        }
        v = u->out[0];
    }
    return false;
}

static void read_through(shapes *s, gi_node *e)
{
    narrowing w;
    if (e->op != OP_Expand || !find_narrowing(s->g, e, &w) || !gi_pass_may(s->cx, "expand_broadcast"))
        return;
    gi_node_set_in(w.reader[0], w.in[0], gi_node_in(e, Expand_in_input));
    for (size_t i = 0; i + 1 < w.n; i++)
        gi_value_set_type(w.reader[i]->out[0], w.type[i]);
    gi_applied(s->cx, "expand_broadcast", e, "%s broadcasts by itself",
               gi_node_label(w.reader[w.n - 1], s->cx->scratch));
    for (size_t i = 0; i < w.n; i++)
        s->failed |= !gi_node_merge_origins(w.reader[i], e);
    gi_remove_dead(e, s->cx->scratch);
}

static bool visit(void *arg, gi_node *n)
{
    shapes *s = arg;
    if (n->op == OP_Unknown)
        return true;
    read_through(s, n);
    if (!n->block || shorten(s, n))
        return !s->failed;
    for (uint32_t i = 0; i < n->n_out; i++)
        note_value(s, n->out[i]);
    return !s->failed;
}

gopt_status gi_pass_shape_arithmetic(gopt_graph *g, gi_pass_ctx *cx)
{
    shapes s = { .cx = cx, .g = g };
    gi_map_init(&s.places, cx->scratch);
    gi_map_init(&s.lists, cx->scratch);
    gi_map_init(&s.shape, cx->scratch);
    for (uint32_t i = 0; i < g->main->n_params; i++)
        note_value(&s, g->main->params[i]);
    return gi_each_node(g->main, visit, &s) ? GOPT_OK : GOPT_NO_MEMORY;
}
