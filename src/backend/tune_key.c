/* By what a step is known in the timing cache: operators, attributes, shapes and layouts, and small constants, whose
 * values (bounds, axes) decide how it runs; of large ones the shape alone. Names do not count. */
#include "backend/tune.h"

#include "ir/op.h"

#include <inttypes.h>
#include <stdio.h>

enum { SMALL = 256 };

typedef struct speller {
    const gi_plan *p;
    const gi_step *s;
    gi_str text;
    gi_map numbers; /* value id + 1 → number + 1 */
    uintptr_t n;
} speller;

static void value(speller *sp, const gi_value *v)
{
    if (!v) {
        gi_str_add(&sp->text, "-");
        return;
    }
    uintptr_t number = (uintptr_t)gi_map_get(&sp->numbers, (uint64_t)v->id + 1);
    if (number) {
        gi_str_addf(&sp->text, "%%%" PRIuPTR, number);
        return;
    }
    number = ++sp->n;
    sp->text.failed |= !gi_map_put(&sp->numbers, (uint64_t)v->id + 1, (void *)number);
    const gi_backend *b = sp->p->e->backend[0];
    gi_blob *blob = gi_value_blob(v);
    gi_str_addf(&sp->text, "%%%" PRIuPTR ":", number);
    gi_type_print(&sp->text, v->type);
    if (blob && blob->bytes <= SMALL && blob->data)
        gi_str_addf(&sp->text, "#%" PRIx64, gi_blob_hash(blob));
    else if (blob)
        gi_str_add(&sp->text, "#");
    else if (b->layout)
        gi_str_addf(&sp->text, "@%d", b->layout(sp->p->e->device[0], sp->s->plan, v));
}

static void attribute(speller *sp, const gi_attr *a)
{
    switch (a->kind) {
    case GI_ATTR_INT:
        gi_str_addf(&sp->text, "%" PRId64, a->u.i);
        break;
    case GI_ATTR_FLOAT:
        gi_str_addf(&sp->text, "%a", (double)a->u.f);
        break;
    case GI_ATTR_STRING:
        gi_str_addn(&sp->text, a->u.s, a->n);
        break;
    case GI_ATTR_INTS:
        gi_str_addf(&sp->text, "%" PRIx64, gi_hash(a->u.ints, a->n * sizeof *a->u.ints, a->n));
        break;
    case GI_ATTR_FLOATS:
        gi_str_addf(&sp->text, "%" PRIx64, gi_hash(a->u.floats, a->n * sizeof *a->u.floats, a->n));
        break;
    default:
        gi_str_addf(&sp->text, "%d.%" PRIu32, (int)a->kind, a->n);
    }
}

static void node(speller *sp, const gi_node *n);

static void block(speller *sp, const gi_block *b)
{
    gi_str_add(&sp->text, "{");
    for (const gi_node *n = b->first; n; n = n->next)
        node(sp, n);
    for (uint32_t i = 0; i < b->n_results; i++)
        value(sp, b->results[i].value);
    gi_str_add(&sp->text, "}");
}

/* Blocks nest as deep as the graph's; fusions, of which tactics know several, one deep. */
static void node(speller *sp, const gi_node *n)
{
    gi_str_addf(&sp->text, "%s(", n->op_name ? n->op_name : gi_op_get(n->op)->name);
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_str_add(&sp->text, i ? "," : "");
        value(sp, n->in[i].value);
    }
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const gi_attr *a = &n->attrs[i];
        if (a->kind == GI_ATTR_NONE)
            continue;
        gi_str_addf(&sp->text, ";%s=", a->name);
        if (a->kind != GI_ATTR_GRAPH)
            attribute(sp, a);
        else if (n == sp->s->node)
            block(sp, a->u.graph);
    }
    gi_str_add(&sp->text, ")");
    for (uint32_t i = 0; i < n->n_out; i++)
        value(sp, n->out[i]);
}

gopt_status gi_tune_key(const gi_plan *p, const gi_step *s, gi_arena *a, char key[33])
{
    speller sp = { .p = p, .s = s };
    gi_str_init(&sp.text, a);
    gi_map_init(&sp.numbers, a);
    gi_str_addf(&sp.text, "%s|", gi_timings_machine(p->e->timings));
    node(&sp, s->node);
    for (uint32_t i = 0; i < s->n_out; i++)
        value(&sp, s->out[i]);
    GI_NEED(!sp.text.failed);
    snprintf(key, 33, "%016" PRIx64 "%016" PRIx64, gi_hash(sp.text.p, sp.text.n, 1), gi_hash(sp.text.p, sp.text.n, 2));
    return GOPT_OK;
}

const char *gi_tune_machine(const struct gopt_engine *e, gi_arena *a)
{
    static const char *const fp[] = {
        [GOPT_FP_STRICT] = "strict", [GOPT_FP_REASSOC] = "reassoc", [GOPT_FP_FAST] = "fast"
    };
    char cpu[96];
    gi_cpu_model(cpu, sizeof cpu);
    return gi_arena_printf(a, "%s, %s, %s, %s, gopt %s", cpu, e->backend[0]->device_name(e->device[0]),
                           e->options.precision, fp[e->options.fp], gopt_version());
}

gopt_status gi_tune_look_up(const gi_plan *p, const gi_step *s, gi_arena *a, const gopt_tactic_info **want)
{
    char key[33];
    gi_timing t;
    *want = NULL;
    GI_TRY(gi_tune_key(p, s, a, key));
    if (!gi_timings_find(p->e->timings, key, &t))
        return GOPT_OK;
    gopt_tactic_info *k = GI_NEW(p->arena, gopt_tactic_info);
    GI_NEED(k);
    *k = (gopt_tactic_info){
        .name = gi_arena_str(p->arena, t.tactic), .variant = t.variant, .ms = t.ms, .takes = true, .chosen = true
    };
    GI_NEED(k->name);
    *want = k;
    return GOPT_OK;
}
