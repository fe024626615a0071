/* Tactic "reference": any node through its reference evaluation, into the plan's buffers. */
#include "backend/cpu/cpu.h"

typedef struct lookup_arg {
    const gi_step *s;
    const gopt_tensor *tensors;
} lookup_arg;

static const gopt_tensor *find(void *user, const gi_value *v)
{
    const lookup_arg *a = user;
    const int i = gi_cpu_in_index(a->s, v);
    return i < 0 ? NULL : &a->tensors[i];
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    (void)d;
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    for (uint32_t i = 0; i < s->n_out; i++)
        c->want_out[i] = GI_PLAIN;
    *took = true;
    return GOPT_OK;
}

static gopt_status tensor_of(const gi_buffer *b, gopt_tensor *t)
{
    *t = (gopt_tensor){
        .kind = GOPT_TENSOR, .dtype = b->type->dtype, .rank = b->type->rank, .data = b->host, .refs = 1
    };
    if (!gi_type_static_dims(b->type, t->dims) || !gi_type_bytes(b->type, &t->bytes))
        return GOPT_INTERNAL;
    return GOPT_OK;
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)c;
    const gi_cpu_context *cx = args->context;
    const gi_node *n = s->node;
    gi_arena_reset(cx->scratch);
    gopt_tensor *in = GI_NEW_ARRAY(cx->scratch, gopt_tensor, s->n_in + 1);
    gopt_tensor *out = GI_NEW_ARRAY(cx->scratch, gopt_tensor, s->n_out + 1);
    const gopt_tensor **ins = GI_NEW_ARRAY(cx->scratch, const gopt_tensor *, n->n_in + 1);
    gopt_tensor **outs = GI_NEW_ARRAY(cx->scratch, gopt_tensor *, s->n_out + 1);
    GI_NEED(in && out && ins && outs);
    for (uint32_t i = 0; i < s->n_in; i++)
        GI_TRY(tensor_of(&args->in[i], &in[i]));
    for (uint32_t i = 0; i < s->n_out; i++) {
        GI_TRY(tensor_of(&args->out[i], &out[i]));
        outs[i] = &out[i];
    }
    lookup_arg arg = { s, in };
    for (uint32_t i = 0; i < n->n_in; i++)
        ins[i] = n->in[i].value ? find(&arg, n->in[i].value) : NULL;
    gi_eval e = { .n = n,
                  .cx = args->cx ? args->cx : d->cx,
                  .n_in = n->n_in,
                  .n_out = s->n_out,
                  .in = ins,
                  .out = outs,
                  .planned = true,
                  .scratch = cx->scratch,
                  .lookup = find,
                  .user = &arg,
                  .seed = args->seed };
    return gi_eval_node(&e);
}

const gi_tactic gi_tactic_reference = { .name = "reference", .prepare = prepare, .run = run };
