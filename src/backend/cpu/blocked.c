/* Which nodes can work on blocked images: what layout.c asks, and the tactics must keep. */
#include "backend/cpu/vecprog.h"

static bool takes(const gi_cpu *d, const gi_node *n)
{
    return gi_conv_depthwise_takes(d, n) || gi_conv_direct_takes(d, n);
}

bool gi_cpu_takes_blocked(const gi_cpu *d, const gi_node *n)
{
    if (n->op != OP_Fusion)
        return takes(d, n) || gi_vp_takes(n) || gi_pool_takes(d, n) || gi_move_takes_blocked(d, n) ||
               gi_channels_takes_blocked(d, n) || gi_rows_takes_blocked(n) || gi_resize_takes_blocked(n) ||
               gi_resize_linear_takes_blocked(n);
    const gi_block *body = gi_fusion_block(n);
    if (!body || !body->first)
        return false;
    /* several convolutions: what no tactic runs as one is gone by now */
    for (const gi_node *k = body->first; k; k = k->next)
        if (!gi_vp_takes(k) && !takes(d, k) && !(k == body->first && gi_pool_takes(d, k)))
            return false;
    return true;
}

bool gi_cpu_makes_blocked(const gi_node *n)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    return n->op == OP_Conv || (body && body->first && body->first->op == OP_Conv);
}
