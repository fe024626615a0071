/* The source of a walk: the sources of its kernels one behind the other, names that would meet made their own, and a
 * loop over the table that calls them. */
#include <ctype.h>

#include "backend/opencl/walk.h"

/* Bytes of local memory that a kernel may have, and that ptx_emulated.cl adds for 256 items. */
enum { LOCAL = 48 * 1024, EXCHANGE = 12 * 4 * GI_CL_WALK_ITEMS };

bool gi_cl_body_of(const gi_cl_launch *l, gi_cl_body *out)
{
    const bool flat = l->global[1] == 1 && l->global[2] == 1;
    *out = (gi_cl_body){
        .source = l->walk_source ? l->walk_source : l->source, .name = l->name, .n_refs = l->n_refs, .n_ints = l->n_ints
    };
    out->by_items = !l->walk_source && flat && !l->local[0];
    out->square = !l->walk_source && l->local[0] == 16 && l->local[1] == 16 && l->global[2] == 1;
    out->units = l->walk_source ? l->walk_groups
                 : out->square  ? l->global[0] / 16 * (l->global[1] / 16)
                                : (l->global[0] + GI_CL_WALK_ITEMS - 1) / GI_CL_WALK_ITEMS;
    return l->kernel && out->source && l->n_refs <= GI_CL_WALK_REFS && l->n_ints <= GI_CL_WALK_INTS &&
           strstr(out->source, "WALK_ARGS") &&
           (l->walk_source || out->by_items || out->square || (flat && l->local[0] == GI_CL_WALK_ITEMS));
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The name that a function's definition at `p` (behind "static", "INLINE" or "__kernel") gives, its length in *n: the
 * last word before the first parenthesis that is none of GROUP_SIZE; NULL where there is none. */
static const char *function_name(const char *p, size_t *n)
{
    static const char group[] = "GROUP_SIZE(";
    for (const char *word = NULL; *p && *p != ';' && *p != '{'; p++) {
        if (!strncmp(p, group, sizeof group - 1)) {
            while (*p && *p != ')')
                p++;
        } else if (is_name(*p)) {
            word = p;
            while (is_name(p[1]))
                p++;
            *n = (size_t)(p + 1 - word);
        } else if (*p == '(') {
            return word;
        }
    }
    return NULL;
}

/* For each line that begins a function or defines a macro: "#define name name_K" before a body, or "#undef name"
 * behind it. */
static void write_names(gi_str *s, const char *source, size_t k, bool before)
{
    static const char *const starts[] = { "static ", "INLINE ", "__kernel " };
    static const char macro[] = "#define ";
    for (const char *line = source; *line;) {
        size_t n = 0;
        const char *name = NULL;
        for (size_t i = 0; i < GI_COUNT(starts); i++)
            if (!strncmp(line, starts[i], strlen(starts[i])))
                name = function_name(line + strlen(starts[i]), &n);
        if (name && before)
            gi_str_addf(s, "#define %.*s %.*s_%zu\n", (int)n, name, (int)n, name, k);
        if (name && !before)
            gi_str_addf(s, "#undef %.*s\n", (int)n, name);
        if (!before && !strncmp(line, macro, sizeof macro - 1)) {
            name = line + sizeof macro - 1;
            for (n = 0; is_name(name[n]); n++)
                ;
            gi_str_addf(s, "#undef %.*s\n", (int)n, name);
        }
        const char *end = strchr(line, '\n');
        line = end ? end + 1 : line + strlen(line);
    }
}

static void write_body(gi_str *s, const gi_cl_body *b, size_t k)
{
    write_names(s, b->source, k, true);
    gi_str_addf(s, "#define get_group_id(d) %s\n",
                b->square ? "((d) == 0 ? walk_unit % walk_st->columns : walk_unit / walk_st->columns)" : "(walk_unit)");
    if (b->square)
        gi_str_add(s, "#define get_local_id(d) ((d) == 0 ? get_local_id(0) % 16 : get_local_id(0) / 16)\n");
    gi_str_add(s, b->source);
    gi_str_add(s, "\n#undef get_group_id\n");
    if (b->square)
        gi_str_add(s, "#undef get_local_id\n");
    write_names(s, b->source, k, false);
}

static void write_call(gi_str *s, const gi_cl_body *b, size_t k)
{
    const bool waits = strstr(b->source, "BEFORE_READING") != NULL;
    gi_str_addf(s, "            case %zu:\n", k);
    if (!waits)
        gi_str_add(s, "                if (waits)\n                    walk_wait(st, counts, epoch);\n");
    gi_str_addf(s, "                %s%s_%zu(",
                b->by_items ? "if (unit * WALK_ITEMS + get_local_id(0) < st->items) " : "", b->name, k);
    for (uint32_t i = 0; i < b->n_refs; i++)
        gi_str_addf(s, "%s(__global void *)st->p[%u], 0ul", i ? ", " : "", i);
    for (uint32_t i = 0; i < b->n_ints; i++)
        gi_str_addf(s, ", st->ints[%u]", i);
    gi_str_add(s, " WALK_PASS);\n                break;\n");
}

static void write_mems(gi_str *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        gi_str_addf(s, ", __global char *m%u", i);
}

const char *gi_cl_walk_source(const gi_cl *d, gi_arena *a, const gi_cl_body *bodies, size_t n, uint32_t n_mems)
{
    gi_str s;
    gi_str_init(&s, a);
    gi_str_addf(&s,
                "#undef WALK_ARGS\n#undef GROUP_SIZE\n#undef LOCAL\n#undef LOCAL_AT\n#undef BEFORE_READING\n%s"
                "#define WALK_REFS %d\n#define WALK_INTS %d\n#define WALK_ROOM %d\n",
                d->ptx ? "#define WALK_PTX 1\n" : "", GI_CL_WALK_REFS, GI_CL_WALK_INTS,
                d->emulated ? LOCAL + EXCHANGE : LOCAL);
    gi_str_add(&s, gk_opencl_walk);
    gi_str_add(&s, "#define __kernel static\n");
    for (size_t i = 0; i < n; i++)
        write_body(&s, &bodies[i], i);
    gi_str_add(&s, "#undef __kernel\n#undef get_global_id\n"
                   "__kernel __attribute__((reqd_work_group_size(WALK_ITEMS, 1, 1))) void\n"
                   "walk(__constant const walk_step *steps, __global uint *counts, const uint n, const uint epoch");
    write_mems(&s, n_mems);
    gi_str_add(&s, ")\n{\n"
                   "    __local char room[WALK_ROOM] __attribute__((aligned(128)));\n"
                   "    const uint groups = get_num_groups(0), me = get_group_id(0);\n"
                   "    uint waited = 0; /* for which phase's counter */\n"
                   "    for (uint i = 0; i < n; i++) {\n"
                   "        __constant const walk_step *st = steps + i;\n"
                   "        uint unit = me >= st->first ? me - st->first : me + groups - st->first;\n"
                   "        bool waits = st->wait != waited;\n"
                   "#if defined(WALK_PTX)\n"
                   "        if (get_local_id(0) == 32 && i + 2 < n && steps[i + 2].weights)\n"
                   "            walk_prefetch(steps[i + 2].p[1] + me * steps[i + 2].weights, steps[i + 2].weights);\n"
                   "#endif\n"
                   "        if (unit >= st->units)\n"
                   "            continue;\n"
                   "        waited = st->wait;\n"
                   "        for (; unit < st->units; unit += groups) {\n"
                   "            switch (st->body) {\n");
    for (size_t i = 0; i < n; i++)
        write_call(&s, &bodies[i], i);
    gi_str_add(&s, "            }\n"
                   "            waits = false;\n"
                   "            WALK_MEET();\n"
                   "        }\n"
                   "        if (get_local_id(0) == 0)\n"
                   "            walk_arrive(counts + st->arrive);\n"
                   "        WALK_SETTLE();\n"
                   "    }\n}\n\n"
                   "/* Numbers of buffers and offsets become addresses. */\n"
                   "__kernel void resolve(__global walk_step *steps, const uint n");
    write_mems(&s, n_mems);
    gi_str_add(&s, ")\n{\n    const uint i = get_global_id(0) / WALK_REFS, k = get_global_id(0) % WALK_REFS;\n"
                   "    if (i >= n)\n        return;\n"
                   "    const ulong v = steps[i].p[k];\n    ulong base = 0;\n    switch (v >> 56) {\n");
    for (uint32_t i = 0; i < n_mems; i++)
        gi_str_addf(&s, "    case %u:\n        base = (ulong)m%u;\n        break;\n", i, i);
    gi_str_add(&s, "    }\n    steps[i].p[k] = base + (v & 0xfffffffffffffful);\n}\n");
    return s.failed ? NULL : s.p;
}
