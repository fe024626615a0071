/* Plan files: what is written runs again with the same answers; what does not fit, is cut off or damaged is refused with
 * its reason; what is forged, sums and all, never crashes; two writers and a full disk leave a whole file or none. */
#include "unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/plan_file.h"
#include "gopt/gopt.h"
#include "ops/infer.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[4][128];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/gopt-plan-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* Blocked convolutions, one with a residual, a product, a Softmax; an If whose branches are plans of their own. */
static const char network[] =
    "opset 17\n"
    "graph \"n\" (%x: f32[1,3,12,12], %k: bool[]) {\n"
    "  %c = Conv %x, dense<f32[32,3,3,3], #a1, \"w1\">, dense<f32[32], #a2> { pads = [1,1,1,1] } @\"/first\"\n"
    "  %r = Relu %c\n"
    "  %d = Conv %r, dense<f32[32,32,3,3], #a3, \"w2\">, dense<f32[32], #a4> { pads = [1,1,1,1] }\n"
    "  %s = Add %d, %r\n"
    "  %e = Conv %s, dense<f32[32,1,3,3], #a5> { pads = [1,1,1,1], group = 32 }\n"
    "  %m = GlobalAveragePool %e\n"
    "  %f = Flatten %m\n"
    "  %g = Gemm %f, dense<f32[32,10], #a6>, dense<f32[10], #a7>\n"
    "  %i = If %k { then_branch = block () { %t = MatMul %g, dense<f32[10,10], #a8>\n return %t },\n"
    "               else_branch = block () { %u = Neg %g\n return %u } }\n"
    "  %y = Softmax %i { axis = -1 }\n"
    "  return %y as \"y\", %g as \"g\"\n"
    "}\n";

static gopt_graph *parse(gopt_ctx *cx, const char *text)
{
    gopt_graph *g = NULL;
    assert_int_equal(gi_parse(cx, "folder/net.gir", text, strlen(text), &g), GOPT_OK);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    return g;
}

static gopt_tensor *tensor(gopt_ctx *cx, int rank, const int64_t *dims, unsigned seed)
{
    gopt_tensor *x;
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, rank, dims, &x), GOPT_OK);
    for (int64_t i = 0; i < gopt_tensor_elements(x); i++) {
        seed = seed * 1103515245u + 12345u;
        ((float *)x->data)[i] = (float)((int)(seed >> 16) % 64 - 32) / 8;
    }
    return x;
}

typedef struct inputs {
    gopt_tensor *t[2];
} inputs;

static inputs make_inputs(gopt_ctx *cx)
{
    inputs in = { { tensor(cx, 4, (int64_t[]){ 1, 3, 12, 12 }, 7) } };
    assert_int_equal(gopt_tensor_create(cx, GOPT_BOOL, 0, NULL, &in.t[1]), GOPT_OK);
    *(bool *)in.t[1]->data = true;
    return in;
}

static void free_inputs(inputs in)
{
    gopt_tensor_unref(in.t[0]);
    gopt_tensor_unref(in.t[1]);
}

/* Runs and gives output i's bytes, to be freed. */
static unsigned char *answer(gopt_engine *e, const inputs *in, size_t i, size_t *bytes)
{
    gopt_run_context *rc;
    assert_int_equal(gopt_run_context_create(e, &rc), GOPT_OK);
    for (size_t k = 0; k < 2 && in->t[k]; k++)
        assert_int_equal(gopt_run_context_set_input(rc, k, in->t[k]), GOPT_OK);
    assert_int_equal(gopt_run(rc), GOPT_OK);
    const gopt_tensor *y = gopt_run_context_output(rc, i);
    *bytes = y->bytes;
    unsigned char *p = malloc(y->bytes);
    memcpy(p, y->data, y->bytes);
    gopt_run_context_destroy(rc);
    return p;
}

static void same_answers(gopt_engine *a, gopt_engine *b, const inputs *in, size_t n_out)
{
    for (size_t i = 0; i < n_out; i++) {
        size_t na, nb;
        unsigned char *x = answer(a, in, i, &na), *y = answer(b, in, i, &nb);
        assert_int_equal(na, nb);
        assert_memory_equal(x, y, na);
        free(x);
        free(y);
    }
}

static gopt_engine *build(gopt_ctx *cx, const char *text, const gopt_engine_options *o)
{
    gopt_engine *e;
    gopt_graph *g = parse(cx, text);
    gopt_engine_options own = o ? *o : (gopt_engine_options){ .threads = 2 };
    own.for_plan = true;
    own.take_graph = true;
    assert_int_equal(gopt_optimize(g, &(gopt_optimize_options){ .level = 2, .fuse = true }, NULL), GOPT_OK);
    assert_int_equal(gopt_engine_create(g, &own, &e), GOPT_OK);
    return e;
}

/* A plan of the network, at that path. */
static void write_plan(const char *path)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_engine *e = build(cx, network, NULL);
    inputs in = make_inputs(cx);
    assert_int_equal(gopt_plan_save(e, path, (const gopt_tensor *const *)in.t), GOPT_OK);
    free_inputs(in);
    gopt_engine_destroy(e);
    gopt_ctx_destroy(cx);
}

static void load(gopt_ctx *cx, const char *path, gopt_plan **p, gopt_engine **e)
{
    gopt_status st = gopt_plan_open(cx, path, p);
    if (st == GOPT_OK)
        st = gopt_plan_engine(*p, NULL, e);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
}

/* ---- files ---- */

typedef struct bytes {
    unsigned char *p;
    size_t n;
} bytes;

static bytes read_file(const char *path)
{
    bytes b = { 0 };
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.p = calloc(1, b.n + 1);
    assert_int_equal(fread(b.p, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

static void write_file(const char *path, const unsigned char *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static uint64_t number_at(const unsigned char *p)
{
    gi_bytes b = { .p = p, .end = p + 8 };
    return gi_get_u64(&b);
}

static void set_number(unsigned char *p, uint64_t x)
{
    for (int i = 0; i < 8; i++, x >>= 8)
        p[i] = (unsigned char)x;
}

/* Makes the sums right again: what a forger would do. */
static void sum_again(bytes b)
{
    const uint64_t sums = number_at(b.p + 40), chunks = (sums + GI_PLAN_CHUNK - 1) / GI_PLAN_CHUNK;
    if (sums > b.n || b.n - sums != 8 * (chunks + 1))
        return; /* it forged the header itself */
    set_number(b.p + GI_PLAN_HEADER - 8, gi_hash(b.p, GI_PLAN_HEADER - 8, 0));
    for (uint64_t i = 0; i < chunks; i++) {
        const uint64_t at = i * GI_PLAN_CHUNK, n = sums - at < GI_PLAN_CHUNK ? sums - at : GI_PLAN_CHUNK;
        set_number(b.p + sums + 8 * i, gi_hash(b.p + at, n, i));
    }
    set_number(b.p + sums + 8 * chunks, gi_hash(b.p + sums, 8 * chunks, b.n));
}

/* Opening or making the engine ends so, with these words in the message. */
static void refused(const char *path, gopt_status status, const char *words, const char *hint)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_plan *p = NULL;
    gopt_engine *e = NULL;
    gopt_status st = gopt_plan_open(cx, path, &p);
    if (st == GOPT_OK)
        st = gopt_plan_engine(p, NULL, &e);
    assert_int_equal(st, status);
    assert_int_equal(gopt_diag_count(cx), 1);
    const gopt_diag *d = gopt_diag_get(cx, 0);
    if (!strstr(d->message, words) || !d->file || strcmp(d->file, path) != 0 ||
        (hint && (!d->hint || !strstr(d->hint, hint))))
        fail_msg("found %s: %s (%s), expected: %s (%s)", d->file, d->message, d->hint ? d->hint : "", words,
                 hint ? hint : "");
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
}

/* ---- cases ---- */

static void test_round_trip(void **state)
{
    (void)state;
    const char *path = path_of("a.gplan");
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_engine *built = build(cx, network, NULL), *loaded;
    inputs in = make_inputs(cx);
    gopt_plan *p;
    gopt_plan_verdict v;
    assert_int_equal(gopt_plan_save(built, path, (const gopt_tensor *const *)in.t), GOPT_OK);
    assert_true(gopt_is_plan(path));
    load(cx, path, &p, &loaded);
    same_answers(built, loaded, &in, 2);
    *(bool *)in.t[1]->data = false; /* the other branch */
    same_answers(built, loaded, &in, 2);
    assert_int_equal(gopt_plan_verify(p, loaded, 0, &v), GOPT_OK);
    assert_true(v.same_bits);
    const gopt_engine_info *a = gopt_engine_get_info(built), *b = gopt_engine_get_info(loaded);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->activation_bytes, b->activation_bytes);
    assert_string_equal(gopt_plan_find_fact(p, "model"), "net.gir");
    gopt_engine_destroy(built);
    free_inputs(in);
    gopt_plan_close(p); /* the engine holds what it needs */
    in = make_inputs(cx);
    size_t n;
    free(answer(loaded, &in, 0, &n));
    free_inputs(in);
    gopt_engine_destroy(loaded);
    assert_int_equal(cx->tensor_bytes, 0);
    gopt_ctx_destroy(cx);
}

/* Weights lie in the file, and are packed nowhere else; each step runs by the tactic that was chosen. */
static void test_what_is_kept(void **state)
{
    (void)state;
    const char *path = path_of("k.gplan");
    write_plan(path);
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_plan *p;
    gopt_engine *e;
    gopt_plan_step s;
    gopt_run_context *rc;
    load(cx, path, &p, &e);
    const gopt_plan_sizes z = gopt_plan_get_sizes(p);
    assert_true(z.n_packs >= 3); /* the dense convolutions and products */
    assert_true(z.packed >= 4 * (32 * 3 * 9 + 32 * 32 * 9));
    assert_int_equal(gopt_run_context_create(e, &rc), GOPT_OK);
    size_t found = 0;
    const gopt_step_info *info;
    for (size_t i = 0; (info = gopt_run_context_step(rc, i)) != NULL; i++) {
        if (!strcmp(info->op, "copy") || !strcmp(info->tactic, "branch"))
            continue;
        bool is = false;
        for (size_t k = 0; gopt_plan_get_step(p, k, &s); k++)
            is = is || (!strcmp(s.tactic, info->tactic) && !strcmp(s.op, info->op) && !strcmp(s.name, info->name));
        assert_true(is);
        found++;
    }
    assert_int_equal(found, z.steps);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
}

/* A plan of a plan is that plan. */
static void test_same_bytes(void **state)
{
    (void)state;
    const char *first = path_of("1.gplan"), *second = path_of("2.gplan"), *third = path_of("3.gplan");
    write_plan(first);
    write_plan(second);
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_plan *p;
    gopt_engine *e;
    load(cx, first, &p, &e);
    const gopt_tensor *in[] = { gopt_plan_input(p, 0), gopt_plan_input(p, 1) };
    assert_int_equal(gopt_plan_save(e, third, in), GOPT_OK);
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
    bytes a = read_file(first), b = read_file(second), c = read_file(third);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    assert_int_equal(a.n, c.n);
    assert_memory_equal(a.p, c.p, a.n);
    free(a.p);
    free(b.p);
    free(c.p);
}

/* Free shapes: the plans that were made are in the file, others are made when they are asked for. */
static void test_free_shapes(void **state)
{
    (void)state;
    static const char text[] = "graph \"d\" (%x: f32[n,40]) {\n  %y = MatMul %x, dense<f32[40,24], #b1>\n"
                               "  %z = Relu %y\n  return %z as \"z\"\n}\n";
    const char *path = path_of("d.gplan");
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_engine *built = build(cx, text, NULL), *loaded;
    gopt_plan *p;
    for (int64_t n = 1; n < 4; n++) {
        inputs in = { { tensor(cx, 2, (int64_t[]){ n, 40 }, 3) } };
        size_t size;
        free(answer(built, &in, 0, &size));
        free_inputs(in);
    }
    assert_int_equal(gopt_plan_save(built, path, NULL), GOPT_OK);
    load(cx, path, &p, &loaded);
    assert_int_equal(gopt_plan_get_sizes(p).shapes, 3);
    assert_null(gopt_plan_input(p, 0));
    for (int64_t n = 1; n < 6; n++) {
        inputs in = { { tensor(cx, 2, (int64_t[]){ n, 40 }, (unsigned)n) } };
        same_answers(built, loaded, &in, 1);
        free_inputs(in);
    }
    gopt_plan_verdict v;
    assert_int_equal(gopt_plan_verify(p, loaded, 0, &v), GOPT_USAGE);
    gopt_engine_destroy(built);
    gopt_engine_destroy(loaded);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
}

static void test_cut_off(void **state)
{
    (void)state;
    const char *path = path_of("c.gplan"), *cut = path_of("cut.gplan");
    write_plan(path);
    bytes b = read_file(path);
    char words[80];
    for (size_t n = 1; n < b.n; n += n < 200 ? 13 : b.n / 17) {
        write_file(cut, b.p, n);
        snprintf(words, sizeof words, "cut off: it has %zu bytes", n);
        refused(cut, GOPT_BAD_INPUT, n < 8 ? "this is no plan" : words, n < 8 ? NULL : "build it again");
    }
    write_file(cut, b.p, b.n + 1);
    refused(cut, GOPT_BAD_INPUT, "1 bytes stand behind the plan's end", NULL);
    free(b.p);
}

static void test_damaged(void **state)
{
    (void)state;
    const char *path = path_of("x.gplan"), *bad = path_of("bad.gplan");
    write_plan(path);
    bytes b = read_file(path);
    for (size_t at = 8; at < b.n; at += at < 80 ? 1 : b.n / 97) {
        char words[96];
        b.p[at] ^= 0x10;
        write_file(bad, b.p, b.n);
        const uint64_t sums = number_at(b.p + 40);
        const size_t from = at / GI_PLAN_CHUNK * GI_PLAN_CHUNK;
        snprintf(words, sizeof words, "damaged between byte %zu and", at < 64 ? 0 : at < sums ? from : (size_t)sums);
        refused(bad, GOPT_BAD_INPUT, words, "build it again");
        b.p[at] ^= 0x10;
    }
    free(b.p);
}

/* Replaces the only place of `from` in the file by as long a text. */
static void replace(bytes b, const char *from, const char *to)
{
    const size_t n = strlen(from);
    size_t found = 0;
    assert_int_equal(n, strlen(to));
    for (size_t i = 0; i + n <= b.n; i++)
        if (!memcmp(b.p + i, from, n)) {
            memcpy(b.p + i, to, n);
            found++;
        }
    assert_int_equal(found, 1);
    sum_again(b);
}

static void test_misfits(void **state)
{
    (void)state;
    const char *path = path_of("m.gplan"), *other = path_of("other.gplan");
    static const char again[] = "gopt run MODEL --plan FILE";
    char from[64], to[64];
    write_plan(path);
    static const struct {
        const char *from, *to, *words;
    } all[] = {
        { "0.1.0", "0.0.9", "was written by gopt 0.0.9, and this is gopt 0.1.0" },
        { "bf16=none", "bf16=nine", "for another machine: its bf16 is nine, here it is none" },
    };
    for (size_t i = 0; i < GI_COUNT(all); i++) {
        bytes b = read_file(path);
        if (i == 1 && !memmem(b.p, b.n, "bf16=none", 9)) {
            free(b.p);
            continue; /* this machine has a unit */
        }
        replace(b, all[i].from, all[i].to);
        write_file(other, b.p, b.n);
        refused(other, GOPT_UNSUPPORTED, all[i].words, again);
        free(b.p);
    }
    bytes b = read_file(path);
    snprintf(from, sizeof from, "%s", gi_plan_build_key());
    snprintf(to, sizeof to, "%s", gi_plan_build_key());
    to[0] = to[0] == '0' ? '1' : '0';
    replace(b, from, to);
    write_file(other, b.p, b.n);
    refused(other, GOPT_UNSUPPORTED, "a build of gopt with other kernels", again);
    free(b.p);
    gopt_ctx *cx = gopt_ctx_create(NULL); /* but it can be looked at */
    gopt_plan *p;
    gopt_graph *g;
    assert_int_equal(gopt_plan_open(cx, other, &p), GOPT_OK);
    assert_string_equal(gopt_plan_find_fact(p, "build"), to);
    assert_int_equal(gopt_plan_graph(p, &g), GOPT_OK);
    gopt_graph_destroy(g);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
    b = read_file(path);
    b.p[8] = 2;
    sum_again(b);
    write_file(other, b.p, b.n);
    refused(other, GOPT_UNSUPPORTED, "of format 2, and gopt 0.1.0 reads format 1", again);
    free(b.p);
    b = read_file(path);
    memcpy(b.p + 12, "\1\2\3\4", 4);
    sum_again(b);
    write_file(other, b.p, b.n);
    refused(other, GOPT_UNSUPPORTED, "bytes in another order", again);
    free(b.p);
    write_file(other, (const unsigned char *)"graph", 5);
    refused(other, GOPT_BAD_INPUT, "this is no plan of gopt", NULL);
    assert_false(gopt_is_plan(other));
}

/* Another instruction set than this machine's: told by the name, whatever that is. */
static void test_other_isa(void **state)
{
    (void)state;
    const char *path = path_of("isa.gplan");
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_engine *e = build(cx, network, &(gopt_engine_options){ .threads = 2, .isa = "sse2" });
    assert_int_equal(gopt_plan_save(e, path, NULL), GOPT_OK);
    gopt_engine_destroy(e);
    gopt_plan *p;
    load(cx, path, &p, &e); /* a lesser one is capped to, as it was when it was built */
    gopt_engine_destroy(e);
    assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .isa = "avx2" }, &e), GOPT_UNSUPPORTED);
    assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "built for sse2, and --isa avx2 is asked for"));
    gopt_diag_clear(cx);
    assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .backend = "opencl" }, &e), GOPT_UNSUPPORTED);
    assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "for backend cpu, and opencl is asked for"));
    gopt_diag_clear(cx);
    assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .precision = "bf16" }, &e), GOPT_UNSUPPORTED);
    assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "with --precision fp32, and bf16 is asked for"));
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
}

/* Other threads than the plan's: the packed weights still fit, or are packed anew. */
static void test_other_threads(void **state)
{
    (void)state;
    const char *path = path_of("t.gplan");
    write_plan(path);
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_plan *p;
    assert_int_equal(gopt_plan_open(cx, path, &p), GOPT_OK);
    for (int threads = 1; threads < 5; threads++) {
        gopt_engine *e;
        gopt_plan_verdict v;
        assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .threads = threads }, &e), GOPT_OK);
        assert_int_equal(gopt_engine_get_info(e)->threads, threads);
        assert_int_equal(gopt_plan_verify(p, e, 1e-5, &v), GOPT_OK);
        gopt_engine_destroy(e);
    }
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
}

/* A weight that is another one is found by its answers, even where the sums were made right. */
static void test_verify(void **state)
{
    (void)state;
    const char *path = path_of("v.gplan"), *other = path_of("w.gplan");
    write_plan(path);
    bytes b = read_file(path);
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_plan *p;
    gopt_engine *e;
    gopt_plan_verdict v;
    assert_int_equal(gopt_plan_open(cx, path, &p), GOPT_OK);
    const gi_kept_pack *pack = NULL;
    for (size_t i = 0; i < p->plans[0].n; i++)
        if (p->plans[0].steps[i].n_packs)
            pack = &p->plans[0].steps[i].packs[0];
    assert_non_null(pack);
    const size_t at = (size_t)((const uint8_t *)pack->data - p->file->data);
    gopt_plan_close(p);
    for (size_t i = 0; i < 64; i++)
        b.p[at + 4 * i + 3] = 0x40; /* numbers of two and more */
    sum_again(b);
    write_file(other, b.p, b.n);
    load(cx, other, &p, &e);
    assert_int_equal(gopt_plan_verify(p, e, 0, &v), GOPT_DIFFERENT);
    assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "does not compute what it did where it was built"));
    assert_true(v.worst > 1e-3);
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
    free(b.p);
}

/* Weights that nobody reads where their packed form fits are not read either; whoever needs them is told of damage. */
static void test_cold(void **state)
{
    (void)state;
    static const char text[] = "graph \"c\" (%x: f32[4,600]) {\n  %y = MatMul %x, dense<f32[600,800], #c1>\n"
                               "  return %y as \"y\"\n}\n";
    const char *path = path_of("cold.gplan"), *other = path_of("cold2.gplan");
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_engine *built = build(cx, text, NULL), *loaded;
    inputs in = { { tensor(cx, 2, (int64_t[]){ 4, 600 }, 5) } };
    gopt_plan *p;
    gopt_graph *g;
    gopt_plan_verdict v;
    assert_int_equal(gopt_plan_save(built, path, (const gopt_tensor *const *)in.t), GOPT_OK);
    bytes b = read_file(path);
    const size_t cold = (size_t)number_at(b.p + 48), index = (size_t)number_at(b.p + 24);
    assert_true(index - cold > 1 << 20);
    b.p[cold + (index - cold) / 2] ^= 1;
    write_file(other, b.p, b.n);
    load(cx, other, &p, &loaded);
    same_answers(built, loaded, &in, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i ? gopt_plan_graph(p, &g) : gopt_plan_verify(p, loaded, 0, &v), GOPT_BAD_INPUT);
        assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "damaged between byte"));
        gopt_diag_clear(cx);
    }
    gopt_engine_destroy(loaded);
    gopt_plan_close(p);
    b.p[cold + (index - cold) / 2] ^= 1;
    assert_true(cold > 1 << 20);
    b.p[cold / 2] ^= 1; /* the packed ones are always looked at */
    write_file(other, b.p, b.n);
    refused(other, GOPT_BAD_INPUT, "damaged between byte", "build it again");
    free(b.p);
    free_inputs(in);
    gopt_engine_destroy(built);
    gopt_ctx_destroy(cx);
}

/* ---- on an OpenCL device ---- */

/* The first, which engines take; *is_host: it is this computer's processor. */
static bool has_device(gopt_ctx *cx, bool *is_host)
{
    const gopt_device_info *d;
    for (size_t i = 0; (d = gopt_device_get(cx, i)) != NULL; i++)
        if (!strcmp(d->backend, "opencl") && !d->missing) {
            *is_host = !strncmp(d->details, "cpu", 3);
            return true;
        }
    print_message("there is no OpenCL device\n");
    return false;
}

/* Programs and packed weights come out of the file; what it is built for is another device, it says so. */
static void test_opencl(void **state)
{
    (void)state;
    static const char *const precisions[] = { "fp32", "fp16" };
    const char *path = path_of("cl.gplan"), *other = path_of("cl2.gplan");
    char cache[128];
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bool is_host = false;
    const bool there = has_device(cx, &is_host);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    (void)setenv("XDG_CACHE_HOME", cache, 1);
    for (size_t i = 0; there && i < GI_COUNT(precisions); i++) {
        const gopt_engine_options o = { .backend = "opencl", .precision = precisions[i], .threads = 2 };
        gopt_engine *built = build(cx, network, &o), *loaded;
        inputs in = make_inputs(cx);
        gopt_plan *p;
        gopt_plan_verdict v;
        assert_int_equal(gopt_plan_save(built, path, (const gopt_tensor *const *)in.t), GOPT_OK);
        assert_int_equal(gopt_plan_open(cx, path, &p), GOPT_OK);
        const gopt_plan_sizes z = gopt_plan_get_sizes(p);
        assert_true(z.programs > 1000);
        assert_true(z.n_packs >= 2);
        for (int trusted = 0; trusted < 2; trusted++) {
            char command[160];
            snprintf(command, sizeof command, "rm -rf %s/cache; mkdir %s/cache", folder, folder);
            assert_int_equal(system(command), 0);
            assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .trust_plan = trusted }, &loaded), GOPT_OK);
            /* what was built from source lies in the cache now; taken from the plan, nothing does */
            snprintf(command, sizeof command, "test -d %s/cache/gopt", folder);
            const char *machine = gopt_plan_find_fact(p, "machine1");
            assert_non_null(machine);
            assert_int_equal(system(command) == 0, is_host && !trusted);
            same_answers(built, loaded, &in, 2);
            assert_int_equal(gopt_plan_verify(p, loaded, 0, &v), GOPT_OK);
            assert_true(v.same_bits);
            gopt_engine_destroy(loaded);
        }
        gopt_plan_close(p);
        gopt_engine_destroy(built);
        free_inputs(in);
        bytes b = read_file(path);
        replace(b, "; driver=", "; drover=");
        write_file(other, b.p, b.n);
        refused(other, GOPT_UNSUPPORTED, "for another machine: its drover is", "gopt run MODEL --plan FILE");
        free(b.p);
    }
    gopt_ctx_destroy(cx);
}

/* All that is packed for a device lies in the file, each once, and nothing is packed that it holds: weights of dense
 * convolutions and of products of few rows, and their biases, of depthwise ones with theirs, of a recurrence from step to
 * step. */
static void test_opencl_packs(void **state)
{
    (void)state;
    static const char text[] =
        "graph \"p\" (%x: f32[1,8,6,6], %s: f32[3,2,4]) {\n  %c = Conv %x, dense<f32[16,8,1,1], #a1>, dense<f32[16], "
        "#a2>\n"
        "  %d = Conv %c, dense<f32[16,1,3,3], #b1>, dense<f32[16], #b2> { group = 16, pads = [1,1,1,1] }\n"
        "  %z = Relu %d\n  %y, %h, %q = LSTM %s, dense<f32[1,20,4], #c1>, dense<f32[1,20,5], #c2> { hidden_size = 5 }\n"
        "  %g = GlobalAveragePool %z\n  %f = Flatten %g\n  %o = Gemm %f, dense<f32[16,11], #d1>, dense<f32[11], #d2>\n"
        "  return %o as \"o\", %y as \"y\"\n}\n";
    static const char *const precisions[] = { "fp32", "fp16" };
    const char *path = path_of("cp.gplan");
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bool is_host;
    const bool there = has_device(cx, &is_host);
    for (size_t i = 0; there && i < GI_COUNT(precisions); i++) {
        const gopt_engine_options o = { .backend = "opencl", .precision = precisions[i], .threads = 1 };
        gopt_engine *built = build(cx, text, &o), *loaded;
        inputs in = { { tensor(cx, 4, (int64_t[]){ 1, 8, 6, 6 }, 5), tensor(cx, 3, (int64_t[]){ 3, 2, 4 }, 6) } };
        gopt_plan *p;
        assert_int_equal(gopt_plan_save(built, path, (const gopt_tensor *const *)in.t), GOPT_OK);
        assert_int_equal(gopt_plan_open(cx, path, &p), GOPT_OK);
        assert_int_equal(gopt_plan_get_sizes(p).n_packs, 6);
        assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .trust_plan = true }, &loaded), GOPT_OK);
        assert_false(loaded->reads_cold);
        same_answers(built, loaded, &in, 2);
        gopt_engine_destroy(loaded);
        gopt_plan_close(p);
        gopt_engine_destroy(built);
        free_inputs(in);
    }
    gopt_ctx_destroy(cx);
}

/* ---- hostile ---- */

/* Opens, makes an engine, runs and compares: any status will do, but for a fault of ours. */
static gopt_status try_it(const char *path)
{
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .memory_limit = 256 << 20, .threads = 1 });
    gopt_plan *p = NULL;
    gopt_engine *e = NULL;
    gopt_plan_verdict v;
    gopt_status st = gopt_plan_open(cx, path, &p);
    if (st == GOPT_OK) {
        gopt_plan_step s;
        (void)gopt_plan_get_sizes(p);
        for (size_t i = 0; gopt_plan_get_step(p, i, &s); i++)
            assert_non_null(s.name);
        st = gopt_plan_engine(p, &(gopt_engine_options){ .threads = 1 }, &e);
    }
    if (st == GOPT_OK)
        st = gopt_plan_verify(p, e, 0, &v);
    if (st != GOPT_OK && st != GOPT_NO_MEMORY)
        assert_true(gopt_diag_count(cx) > 0);
    if (st == GOPT_INTERNAL) {
        gopt_diag_print(cx, stderr, false);
        fail();
    }
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    assert_int_equal(cx->tensor_bytes, 0);
    gopt_ctx_destroy(cx);
    return st;
}

/* Forged: bytes anywhere in the index or the header changed, in several ways, and all sums right. */
static void test_forged(void **state)
{
    (void)state;
    const char *path = path_of("f.gplan"), *bad = path_of("forged.gplan");
    const size_t tries = getenv("GOPT_TEST_FULL") ? 20000 : 1500;
    write_plan(path);
    bytes b = read_file(path), m = { malloc(b.n), b.n };
    const size_t index = (size_t)number_at(b.p + 24), end = (size_t)number_at(b.p + 40);
    uint64_t state_of = 12345;
    size_t ended[8] = { 0 };
    for (size_t i = 0; i < tries; i++) {
        memcpy(m.p, b.p, b.n);
        const size_t changes = 1 + i % 3;
        for (size_t k = 0; k < changes; k++) {
            state_of = gi_hash(&state_of, sizeof state_of, i);
            const size_t at = i % 16 == 0 ? 8 + (size_t)(state_of % 48) : index + (size_t)(state_of % (end - index));
            const uint64_t how = state_of >> 40;
            static const uint64_t extremes[] = { 0, 1, UINT64_MAX, INT64_MAX, 1ull << 32, 65535, 1ull << 62 };
            if (how % 4 == 0 && at + 8 <= end)
                set_number(m.p + at, extremes[how / 4 % GI_COUNT(extremes)]);
            else if (how % 4 == 1)
                m.p[at] = (unsigned char)(how >> 2);
            else if (how % 4 == 2)
                m.p[at] ^= (unsigned char)(1 << (how >> 2) % 8);
            else
                m.p[at] = (unsigned char)"0123456789%,[]{}<>@\" "[(how >> 2) % 21];
        }
        sum_again(m);
        write_file(bad, m.p, m.n);
        ended[try_it(bad)]++;
    }
    /* they reach all of the reader: some are taken, some refused by what they hold, some compute something else */
    print_message("%zu run, %zu differ, %zu are bad, %zu do not fit\n", ended[GOPT_OK], ended[GOPT_DIFFERENT],
                  ended[GOPT_BAD_INPUT], ended[GOPT_UNSUPPORTED]);
    assert_true(ended[GOPT_OK] && ended[GOPT_BAD_INPUT] && ended[GOPT_UNSUPPORTED]);
    free(b.p);
    free(m.p);
}

/* ---- writing ---- */

static void test_two_writers(void **state)
{
    (void)state;
    const char *path = path_of("two.gplan");
    pid_t all[4];
    for (size_t i = 0; i < GI_COUNT(all); i++) {
        all[i] = fork();
        assert_true(all[i] >= 0);
        if (!all[i]) {
            for (int k = 0; k < 3; k++)
                write_plan(path);
            _exit(0);
        }
    }
    for (int seen = 0; seen < 40;) { /* meanwhile what is there is whole */
        gopt_ctx *cx = gopt_ctx_create(NULL);
        gopt_plan *p = NULL;
        if (gopt_is_plan(path)) {
            assert_int_equal(gopt_plan_open(cx, path, &p), GOPT_OK);
            seen++;
        } else if (waitpid(all[0], NULL, WNOHANG) != 0) {
            break;
        }
        gopt_plan_close(p);
        gopt_ctx_destroy(cx);
    }
    for (size_t i = 0; i < GI_COUNT(all); i++) {
        int status = 0;
        if (waitpid(all[i], &status, 0) == all[i])
            assert_int_equal(status, 0);
    }
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_plan *p;
    gopt_engine *e;
    load(cx, path, &p, &e);
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    gopt_ctx_destroy(cx);
    char command[128];
    snprintf(command, sizeof command, "test $(ls %s | grep -c '^two') = 1", folder); /* nothing temporary is left */
    assert_int_equal(system(command), 0);
}

/* A disk that fills up: an error, the old file as it was, nothing beside it. */
static void test_full_disk(void **state)
{
    (void)state;
    const char *path = path_of("full.gplan");
    write_plan(path);
    bytes before = read_file(path);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        gopt_ctx *cx = gopt_ctx_create(NULL);
        gopt_engine *e = build(cx, network, &(gopt_engine_options){ .threads = 1 });
        (void)signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = { before.n / 2, before.n / 2 };
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(9);
        const gopt_status st = gopt_plan_save(e, path, NULL);
        const bool said = gopt_diag_count(cx) == 1 && strstr(gopt_diag_get(cx, 0)->message, "cannot write");
        _exit(st == GOPT_BAD_INPUT && said ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    bytes after = read_file(path);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.p, after.p, after.n);
    free(before.p);
    free(after.p);
    char command[128];
    snprintf(command, sizeof command, "test $(ls %s | grep -c '^full') = 1", folder);
    assert_int_equal(system(command), 0);
}

/* What has no plan says so. */
static void test_no_plan(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_engine *e;
    gopt_graph *g = parse(cx, network);
    assert_int_equal(gopt_engine_create(g, NULL, &e), GOPT_OK);
    assert_int_equal(gopt_plan_save(e, path_of("no.gplan"), NULL), GOPT_USAGE);
    gopt_engine_destroy(e);
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .reference = true, .for_plan = true }, &e), GOPT_OK);
    assert_int_equal(gopt_plan_save(e, path_of("no.gplan"), NULL), GOPT_USAGE);
    gopt_engine_destroy(e);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    assert_int_not_equal(access(path_of("no.gplan"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_what_is_kept), cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_free_shapes),  cmocka_unit_test(test_cut_off),      cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_misfits),      cmocka_unit_test(test_other_isa),    cmocka_unit_test(test_other_threads),
        cmocka_unit_test(test_verify),       cmocka_unit_test(test_cold),         cmocka_unit_test(test_opencl),
        cmocka_unit_test(test_opencl_packs), cmocka_unit_test(test_forged),       cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_full_disk),    cmocka_unit_test(test_no_plan),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
