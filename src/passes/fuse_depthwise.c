/* A depthwise convolution with the 1x1 convolutions around it: an inverted residual, or its parts.
 *
 *     %e = Clip (Conv %x, 1x1)                   %y = Fusion conv {
 *     %d = Clip (Conv %e, 3x3, depthwise)   ⇒        the three convolutions and what is behind them }
 *     %y = Add (Conv %d, 1x1), %x
 *
 * The wide tensors between them are the largest of such networks; a kernel that works on a few rows at a time never
 * writes them. Joined are regions that are there already (each convolution with what is behind it), where nothing else
 * reads what lies between. */
#include "passes/fuse.h"

static bool is_depthwise(const gi_node *n)
{
    const gi_blob *w = n->op == OP_Conv ? gi_value_blob(gi_node_in(n, Conv_in_W)) : NULL;
    return w && w->rank >= 3 && w->dims[1] == 1 && w->dims[0] > 1 && gi_attr_int(n, Conv_at_group) == w->dims[0];
}

static bool is_one_pixel(const gi_node *n)
{
    const gi_blob *w = n->op == OP_Conv ? gi_value_blob(gi_node_in(n, Conv_in_W)) : NULL;
    if (!w || w->rank < 3 || gi_attr_int(n, Conv_at_group) != 1)
        return false;
    for (int i = 2; i < w->rank; i++)
        if (w->dims[i] != 1)
            return false;
    return true;
}

/* The convolution and what is behind it: its group, or itself. */
typedef struct stage {
    gi_group *group;
    gi_node *main;
} stage;

/* The stage that n belongs to, where its convolution is what `is` says. */
static bool stage_of(const gi_fuser *f, gi_node *n, bool (*is)(const gi_node *n), stage *s)
{
    *s = (stage){ .group = gi_fuse_group_of(f, n) };
    s->main = s->group ? s->group->main : n;
    return n && n->block == f->block && s->main && is(s->main) && (!s->group || s->group->kind == GI_FUSION_CONV);
}

static gi_value *result_of(const stage *s)
{
    return s->group ? s->group->nodes[s->group->n - 1]->out[0] : s->main->out[0];
}

static bool add_stage(gi_fuser *f, const stage *s)
{
    if (!s->group)
        return gi_fuse_add(f, s->main);
    for (size_t i = 0; i < s->group->n; i++)
        if (!gi_fuse_add(f, s->group->nodes[i]))
            return false;
    return true;
}

/* The 1x1 convolution that alone reads v, as its image. */
static bool stage_behind(const gi_fuser *f, const gi_value *v, stage *s)
{
    gi_node *n = gi_value_only_user(v);
    return n && gi_node_in(n, Conv_in_X) == v && stage_of(f, n, is_one_pixel, s) && s->main == n;
}

/* The one whose result the depthwise convolution alone reads. */
static bool stage_before(const gi_fuser *f, const gi_node *depthwise, stage *s)
{
    gi_value *x = gi_node_in(depthwise, Conv_in_X);
    gi_node *n = gi_value_node(x);
    return n && gi_value_only_user(x) == depthwise && stage_of(f, n, is_one_pixel, s) && result_of(s) == x;
}

static gopt_status join(gi_fuser *f, gi_node *depthwise)
{
    stage before, own, behind;
    if (!stage_of(f, depthwise, is_depthwise, &own) || own.main != depthwise)
        return GOPT_OK;
    const bool has_before = stage_before(f, depthwise, &before), has_behind = stage_behind(f, result_of(&own), &behind);
    if (!has_before && !has_behind)
        return GOPT_OK;
    gi_node *first = has_before ? before.main : depthwise;
    GI_NEED(gi_fuse_begin(f, first));
    f->nodes.n = 0;
    if (has_before)
        GI_NEED(add_stage(f, &before));
    GI_NEED(add_stage(f, &own));
    if (has_behind)
        GI_NEED(add_stage(f, &behind));
    if (f->nodes.n > GI_FUSE_MAX_NODES)
        return GOPT_OK;
    stage *const all[] = { has_before ? &before : NULL, &own, has_behind ? &behind : NULL };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        if (all[i] && all[i]->group)
            all[i]->group->gone = true;
    return gi_fuse_make(f, GI_FUSION_CONV, first, NULL);
}

gopt_status gi_fuse_depthwise(gi_fuser *f)
{
    for (size_t i = 0; i < f->all.n; i++)
        if (is_depthwise(f->all.p[i]))
            GI_TRY(join(f, f->all.p[i]));
    return GOPT_OK;
}
