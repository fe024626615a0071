/* What plan files hold of this backend: packed weights, compiled programs, and what was timed on the device.
 *
 *   state   programs: how many, then each with the hash of its source and its binary; choices: how many, then each key
 *           with what was chosen. Only what this device's plans asked for.
 *
 * Binaries are code. Those for a device that is the computer's own processor would run with all rights of this process,
 * so they are taken only where the caller trusts the file; without, the sources are built as ever. */
#include <stdlib.h>

#include "backend/opencl/cl.h"
#include "base/bytes.h"

/* ---- packed weights ---- */

static gopt_status note(gi_cl_build *b, uint64_t offset, size_t bytes, uint64_t how, const gi_blob *of)
{
    const gi_cl_pack pack = {
        .mem = b->c->own.p[b->c->own.n - 1], .offset = offset, .bytes = bytes, .how = how, .of = of
    };
    return gi_push(b->c->arena, &b->c->packs, pack) ? GOPT_OK : GOPT_NO_MEMORY;
}

gopt_status gi_cl_own_packed(gi_cl_build *b, const void *data, size_t bytes, size_t item, uint64_t how,
                             const gi_blob *of, gi_cl_ref *out)
{
    GI_TRY(gi_cl_own(b, data, bytes, item, out));
    return b->dry ? GOPT_OK : note(b, out->offset, bytes, how, of);
}

gopt_status gi_cl_own_kept(gi_cl_build *b, size_t bytes, size_t item, uint64_t how, const gi_blob *of, gi_cl_ref *out,
                           bool *found)
{
    const void *kept = b->dry ? NULL : gi_kept_next(b->s, bytes, how);
    *found = kept != NULL;
    return kept ? gi_cl_own_packed(b, kept, bytes, item, how, of, out) : GOPT_OK;
}

/* Fills both, and hands them over where halves hold the weights, or none are made. */
static gopt_status fill(gi_cl_build *b, const gi_cl_packing *p, void *to, float *bias_to, gi_cl_ref *w, gi_cl_ref *bias,
                        bool *fits)
{
    const gi_blob *wb = gi_value_blob(p->w), *bb = p->bias ? gi_value_blob(p->bias) : NULL;
    gi_halving halving = { 0 };
    const char *misfit = NULL;
    float *from = gi_cl_floats_copy(b->d, wb), *bias_from = bb ? gi_cl_floats_copy(b->d, bb) : NULL;
    gopt_status st = from && (bias_from || !bb) ? GOPT_OK : GOPT_NO_MEMORY;
    if (st == GOPT_OK) {
        memset(to, 0, p->bytes);
        if (bias_to)
            memset(bias_to, 0, p->bias_bytes);
        p->fill(p->user, from, bias_from, &halving, to, bias_to);
        if (p->item == sizeof(uint16_t))
            st = gi_halving_misfit(&halving, p->w, b->arena, &misfit);
    }
    gi_free(b->d->cx, from);
    gi_free(b->d->cx, bias_from);
    GI_TRY(st);
    if (misfit) {
        b->s->fp32 = misfit;
        return GOPT_OK;
    }
    *fits = true;
    GI_TRY(gi_cl_own_packed(b, to, p->bytes, p->item, p->how, wb, w));
    return bias_to ? gi_cl_own_packed(b, bias_to, p->bias_bytes, sizeof(float), p->how, NULL, bias) : GOPT_OK;
}

gopt_status gi_cl_pack_weights(gi_cl_build *b, const gi_cl_packing *p, gi_cl_ref *w, gi_cl_ref *bias, bool *fits)
{
    GI_TRY(gi_cl_own_kept(b, p->bytes, p->item, p->how, gi_value_blob(p->w), w, fits));
    if (*fits && p->bias_bytes) {
        GI_TRY(gi_cl_own_kept(b, p->bias_bytes, sizeof(float), p->how, NULL, bias, fits));
        return *fits ? GOPT_OK : GOPT_INTERNAL; /* both are in the file, or none */
    }
    if (*fits)
        return GOPT_OK;
    void *to = gi_alloc(b->d->cx, p->bytes);
    float *bias_to = p->bias_bytes ? gi_alloc(b->d->cx, p->bias_bytes) : NULL;
    const bool room = to && (bias_to || !p->bias_bytes);
    const gopt_status st = room ? fill(b, p, to, bias_to, w, bias, fits) : GOPT_NO_MEMORY;
    gi_free(b->d->cx, to);
    gi_free(b->d->cx, bias_to);
    return st;
}

gopt_status gi_cl_packs(gi_device *dev, const gi_step *s, gi_pack_visit visit, void *user)
{
    const gi_cl_step *c = s->state;
    (void)dev;
    for (size_t i = 0; c && i < c->packs.n; i++) {
        const gi_cl_pack *k = &c->packs.p[i];
        GI_TRY(visit(user,
                     &(gi_pack){ .mem = k->mem, .offset = k->offset, .bytes = k->bytes, .how = k->how, .of = k->of }));
    }
    return GOPT_OK;
}

/* ---- the device ---- */

const char *gi_cl_machine(const gi_device *dev, gi_arena *a)
{
    const gi_cl *d = (const gi_cl *)dev;
    char *text = gi_arena_printf(a, "device=%s; driver=%s", d->name, d->driver);
    const size_t driver = strlen("device=") + strlen(d->name);
    for (size_t i = strlen("device="); text && text[i]; i++) /* a name with ';' in it would look like two facts */
        if (text[i] == ';' && i != driver)
            text[i] = ',';
    return text;
}

static void put_program(gi_cl *d, const char *source, cl_program program, gi_str *out, uint64_t *n)
{
    size_t size = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || !size)
        return;
    unsigned char *p = gi_alloc(d->cx, size);
    if (p && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(unsigned char *), &p, NULL) == CL_SUCCESS) {
        gi_put_u64(out, gi_cl_source_hash(d, source));
        gi_put_bytes(out, p, size);
        ++*n;
    }
    gi_free(d->cx, p);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const gi_smap_slot *)a)->key, ((const gi_smap_slot *)b)->key);
}

/* The map's entries in the order of their keys, so that the same plan gives the same bytes. */
static gi_smap_slot *sorted(const gi_smap *m, gi_arena *a, size_t *n)
{
    gi_smap_slot *all = GI_NEW_ARRAY(a, gi_smap_slot, m->n + 1);
    *n = 0;
    for (size_t i = 0; all && i < m->cap; i++)
        if (m->slots[i].value)
            all[(*n)++] = m->slots[i];
    if (*n)
        qsort(all, *n, sizeof *all, by_key);
    return all;
}

gopt_status gi_cl_state(gi_device *dev, gi_str *out)
{
    gi_cl *d = (gi_cl *)dev;
    gi_str programs, choices;
    uint64_t n_programs = 0, n_choices = 0;
    size_t n;
    gi_str_init(&programs, out->arena);
    gi_str_init(&choices, out->arena);
    const gi_smap_slot *all = sorted(&d->programs, out->arena, &n);
    GI_NEED(all);
    for (size_t i = 0; i < n; i++)
        if (gi_smap_get(&d->sources, all[i].key))
            put_program(d, all[i].key, all[i].value, &programs, &n_programs);
    all = sorted(d->asked, out->arena, &n);
    GI_NEED(all);
    for (size_t i = 0; i < n; i++) {
        const int choice = gi_cl_tuned(d, all[i].key);
        if (choice < 0)
            continue;
        gi_put_text(&choices, all[i].key);
        gi_put_u32(&choices, (uint32_t)choice);
        n_choices++;
    }
    gi_put_u64(out, n_programs);
    if (programs.n)
        gi_str_addn(out, programs.p, programs.n);
    gi_put_u64(out, n_choices);
    if (choices.n)
        gi_str_addn(out, choices.p, choices.n);
    return programs.failed || choices.failed ? GOPT_NO_MEMORY : GOPT_OK;
}

gopt_status gi_cl_restore(gi_device *dev, const uint8_t *p, size_t n, bool trusted)
{
    gi_cl *d = (gi_cl *)dev;
    gi_bytes b = { .p = p, .end = p + n };
    const bool take = trusted || !(d->type & CL_DEVICE_TYPE_CPU);
    for (size_t i = gi_get_count(&b, 16); i && !b.bad; i--) {
        gi_cl_binary *k = GI_NEW(d->arena, gi_cl_binary);
        const uint64_t hash = gi_get_u64(&b);
        GI_NEED(k);
        k->p = gi_get_bytes(&b, &k->n);
        if (take && k->n)
            GI_NEED(gi_map_put(&d->kept, hash, k));
    }
    for (size_t i = gi_get_count(&b, 12); i && !b.bad; i--) {
        const char *key = gi_get_text(&b, d->arena);
        const uint32_t choice = gi_get_u32(&b);
        if (!b.bad && choice < INT32_MAX)
            GI_NEED(gi_smap_put(&d->tuned, key, (void *)(uintptr_t)(choice + 1)));
    }
    return GOPT_OK; /* what is not as we write it is as good as none */
}
