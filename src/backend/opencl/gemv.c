/* Products of few rows by constant weights (gemv.cl): how many items share a column.
 *
 * Weights are read once whatever is chosen, so the more items read them the better, as long as the columns of one group
 * after the other keep every compute unit busy once: a second round of groups waits for the first in a walk. */
#include "backend/opencl/gemv.h"

enum { ITEMS = 256, LEAST_LANES = 8, WARP = 32, WORTH_A_MEETING = 4 /* chunks an item */ };

_Static_assert((int)GI_CL_GEMV_ROWS <= (int)LEAST_LANES, "an item of a column ends each row");

static int64_t groups_of(const gi_cl_gemv *p, int64_t lanes)
{
    return (p->room + ITEMS / lanes - 1) / (ITEMS / lanes);
}

/* Beyond a warp, items meet in local memory, which short columns are not worth. */
static int64_t lanes_of(const gi_cl_gemv *p, int64_t chunks, unsigned units)
{
    int64_t lanes = LEAST_LANES;
    while (2 * lanes <= ITEMS && groups_of(p, 2 * lanes) <= (int64_t)units &&
           chunks > lanes * (lanes < WARP ? 1 : WORTH_A_MEETING))
        lanes *= 2;
    return lanes;
}

/* Chunks of a column that an item has under way, as many as registers hold beside those of the rows. */
static int64_t ahead_of(const gi_cl_gemv *p, int64_t each)
{
    return gi_min_i64(each, p->rows > 2 ? 4 : 8);
}

gopt_status gi_cl_gemv_launch(gi_cl_build *b, const gi_cl_gemv *p, uint32_t n_refs, const gi_cl_ref *refs)
{
    const int64_t chunk = gi_cl_chunk(b->d), chunks = (p->length + chunk - 1) / chunk;
    const int64_t lanes = lanes_of(p, chunks, b->d->units), each = (chunks + lanes - 1) / lanes;
    const int64_t ints[] = { p->n, p->room, p->length, p->row, p->pixels, p->strides[0], p->strides[1], p->strides[2] };
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_addf(&s, "#define ROWS %d\n#define LANES %d\n#define AHEAD %d\n", (int)p->rows, (int)lanes,
                (int)ahead_of(p, each));
    if (p->length % chunk == 0)
        gi_str_add(&s, "#define WHOLE 1\n");
    gi_str_add(&s, p->before);
    if (b->d->mma) {
        gi_str_add(&s, gi_cl_ptx(b->d));
        gi_str_add(&s, "#define SHUFFLES 1\n");
    }
    gi_str_add(&s, gk_opencl_gemv);
    GI_NEED(!s.failed);
    b->s->tactic = "gemv";
    b->weights = (uint64_t)(p->n * p->row) * (b->d->half ? 2 : 4);
    return gi_cl_launch_kernel(b, s.p, "gemv", n_refs, refs, GI_COUNT(ints), ints,
                               (size_t[]){ (size_t)groups_of(p, lanes) * ITEMS, 1, 1 }, (size_t[]){ ITEMS, 1, 1 });
}
