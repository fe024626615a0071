/* Where a model's inputs come from, and where its outputs go. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/* ---- names as files ---- */

/* '/' and ':' become '_'. Freed by the caller. */
static char *mangle(const char *name)
{
    char *copy = strdup(name && *name ? name : "output");
    for (char *p = copy; p && *p; p++)
        if (*p == '/' || *p == ':')
            *p = '_';
    if (copy && (!strcmp(copy, ".") || !strcmp(copy, "..")))
        memset(copy, '_', strlen(copy));
    return copy;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcasecmp(text + n - k, end);
}

/* ---- one input from one file ---- */

typedef struct wanted {
    const gopt_value *value;
    const char *name;
    char type[256];
} wanted;

/* The conversion flags stand for this tensor: bytes of a picture, for an input that is no such thing. */
static bool is_picture(const gopt_tensor *x)
{
    if (x->kind != GOPT_TENSOR || x->dtype != GOPT_U8 || (x->rank != 3 && !(x->rank == 4 && x->dims[0] == 1)))
        return false;
    const int64_t c = x->dims[x->rank - 1];
    return c == 1 || c == 3 || c == 4;
}

static gopt_status check_type(tool *t, const char *path, const wanted *w, const gopt_tensor *x)
{
    char found[256];
    type_text(x, found, sizeof found);
    const gopt_kind kind = gopt_value_kind(w->value);
    if (x->kind != kind)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "input %s is %s, expected %s", w->name, found, w->type);
    if (kind != GOPT_TENSOR)
        return GOPT_OK;
    bool fits = gopt_value_dtype(w->value) == x->dtype || gopt_value_dtype(w->value) == GOPT_UNDEFINED;
    const bool dtype_fits = fits;
    const int rank = gopt_value_rank(w->value);
    fits = fits && (rank < 0 || rank == x->rank);
    for (int i = 0; fits && i < rank; i++)
        fits = gopt_value_dim(w->value, i) < 0 || gopt_value_dim(w->value, i) == x->dims[i];
    if (fits)
        return GOPT_OK;
    const char *hint = NULL;
    char buffer[160];
    if (is_picture(x) && rank >= 2)
        hint =
            "it looks like a picture: --image-layout nchw or nhwc, --image-scale 1/255, --image-mean and --image-std "
            "convert it";
    else if (!dtype_fits) {
        snprintf(buffer, sizeof buffer, "convert the file's elements from %s to %s", gopt_dtype_name(x->dtype),
                 gopt_dtype_name(gopt_value_dtype(w->value)));
        hint = buffer;
    }
    return tool_fail(t, GOPT_BAD_INPUT, path, hint, "input %s is %s, expected %s", w->name, found, w->type);
}

/* Raw bytes: the input's shape must say how many, but for one open dim. */
static gopt_status load_raw(tool *t, const char *path, const wanted *w, const uint8_t *p, size_t n, gopt_tensor **out)
{
    const int rank = gopt_value_rank(w->value), bits = gopt_dtype_bits(gopt_value_dtype(w->value));
    int64_t dims[GOPT_MAX_RANK], known = 1;
    int open = -1;
    bool overflow = rank < 0 || rank > GOPT_MAX_RANK || bits < 8;
    for (int i = 0; i < rank && !overflow; i++) {
        dims[i] = gopt_value_dim(w->value, i);
        if (dims[i] >= 0)
            overflow = __builtin_mul_overflow(known, dims[i], &known);
        else if (open < 0)
            open = i;
        else
            return tool_fail(t, GOPT_USAGE, path, "fix it with --shape",
                             "raw bytes for input %s, which is %s: more than one size is open", w->name, w->type);
    }
    int64_t bytes = 0;
    overflow = overflow || __builtin_mul_overflow(known, bits / 8, &bytes);
    if (!overflow && open >= 0) {
        dims[open] = bytes > 0 ? (int64_t)n / bytes : 0;
        bytes *= dims[open];
    }
    if (overflow || (uint64_t)bytes != n)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "has %zu bytes, input %s is %s and expects %lld", n, w->name,
                         w->type, (long long)bytes);
    TRY(gopt_tensor_create(t->cx, gopt_value_dtype(w->value), rank, dims, out));
    if (n)
        memcpy((*out)->data, p, n);
    return GOPT_OK;
}

static gopt_status load_bytes(tool *t, const char *path, const wanted *w, const uint8_t *p, size_t n, gopt_tensor **out)
{
    if (gopt_image_is(p, n) && gopt_value_rank(w->value) == 1 && gopt_value_dtype(w->value) == GOPT_U8)
        return load_raw(t, path, w, p, n, out); /* the model decodes it, by a plugin's operator */
    if (gopt_image_is(p, n)) {
        gopt_tensor *pixels;
        TRY(gopt_image_decode(t->cx, path, p, n, &pixels));
        const gopt_status s = image_to_input(t, path, pixels, w->value, w->name, out);
        gopt_tensor_unref(pixels);
        return s;
    }
    if (n >= 4 && !memcmp(p, "PK\x03\x04", 4))
        return npz_load(t, path, p, n, w->name, out);
    if (n >= 6 && !memcmp(p, "\x93NUMPY", 6))
        return npy_load(t, path, p, n, out);
    if (ends_with(path, ".bin") || ends_with(path, ".raw"))
        return load_raw(t, path, w, p, n, out);
    if (ends_with(path, ".json"))
        return json_load_input(t, path, p, n, w->value, w->type, out);
    return tool_fail(t, GOPT_BAD_INPUT, path, "give .npy, .npz, .pb, .json, a picture, or raw bytes as .bin",
                     "is of no kind that is known here");
}

static gopt_status load_input(tool *t, const char *path, const wanted *w, gopt_tensor **out)
{
    *out = NULL;
    gopt_status s;
    if (ends_with(path, ".pb")) {
        s = gopt_onnx_load_tensor(t->cx, path, gopt_value_kind(w->value), out);
    } else {
        uint8_t *p;
        size_t n;
        TRY(tool_read_file(t, path, &p, &n));
        s = load_bytes(t, path, w, p, n, out);
        free(p);
    }
    TRY(s);
    if (!*out)
        return tool_no_memory(t);
    if (is_picture(*out) && gopt_value_kind(w->value) == GOPT_TENSOR && image_flags(t)) {
        gopt_tensor *pixels = *out;
        *out = NULL;
        s = image_to_input(t, path, pixels, w->value, w->name, out);
        gopt_tensor_unref(pixels);
        TRY(s);
    }
    s = *out ? check_type(t, path, w, *out) : tool_no_memory(t);
    if (s != GOPT_OK) {
        gopt_tensor_unref(*out);
        *out = NULL;
    }
    return s;
}

/* ---- all of them ---- */

typedef struct job {
    tool *t;
    gopt_graph *g;
    wanted *w;
    gopt_tensor **in;
    size_t n;
} job;

static gopt_status load_into(job *j, size_t i, const char *path)
{
    gopt_tensor_unref(j->in[i]);
    j->in[i] = NULL;
    return load_input(j->t, path, &j->w[i], &j->in[i]);
}

static gopt_status unknown_input(job *j, const char *text)
{
    char names[512] = "";
    for (size_t i = 0; i < j->n; i++) {
        const size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "its inputs are ", j->w[i].name);
    }
    return tool_fail(j->t, GOPT_USAGE, NULL, *names ? names : "the model has no inputs",
                     "--input '%s' names no input of the model; write NAME=FILE", text);
}

/* --input NAME=FILE: the name is the longest that is an input's; FILE alone serves a lone input, and a .npz
 * serves all. */
static gopt_status from_flag(job *j, const char *text)
{
    size_t best = SIZE_MAX, length = 0;
    for (size_t i = 0; i < j->n; i++) {
        const size_t n = strlen(j->w[i].name);
        if (!strncmp(text, j->w[i].name, n) && text[n] == '=' && (best == SIZE_MAX || n > length)) {
            best = i;
            length = n;
        }
    }
    if (best != SIZE_MAX)
        return load_into(j, best, text + length + 1);
    const bool file = !access(text, R_OK) || !strchr(text, '=');
    if (j->n == 1 && file)
        return load_into(j, 0, text);
    if (j->n > 1 && file && ends_with(text, ".npz")) {
        for (size_t i = 0; i < j->n; i++)
            TRY(load_into(j, i, text));
        return GOPT_OK;
    }
    return unknown_input(j, text);
}

static const char *const kinds[] = { "npy", "npz", "pb", "json", "bin", "png", "jpg", "jpeg", "ppm", "pgm" };
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

bool is_tensor_file(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t k = 0; dot && k < N_KINDS; k++)
        if (!strcasecmp(dot + 1, kinds[k]))
            return true;
    return false;
}

/* The file for input i in a folder; the last place looked at where there is none. Freed by the caller. */
static char *file_in(const char *dir, const char *stem, size_t i, bool *found)
{
    char *path = NULL;
    *found = false;
    for (size_t k = 0; !*found && k <= N_KINDS; k++) {
        free(path);
        path = k < N_KINDS ? text_of("%s/%s.%s", dir, stem, kinds[k]) : text_of("%s/input_%zu.pb", dir, i);
        *found = path && !access(path, R_OK);
    }
    return path;
}

bool is_sample_folder(const gopt_graph *g, const char *dir)
{
    char *stem = gopt_graph_input_count(g) ? mangle(gopt_graph_input_name(g, 0)) : NULL;
    bool found = false;
    free(stem ? file_in(dir, stem, 0, &found) : NULL);
    free(stem);
    return found;
}

/* --inputs DIR: NAME.npy and so on, or input_N.pb. */
static gopt_status from_folder(job *j, const char *dir)
{
    if (access(dir, R_OK | X_OK))
        return tool_fail(j->t, GOPT_BAD_INPUT, dir, NULL, "cannot be read");
    for (size_t i = 0; i < j->n; i++) {
        bool found = false;
        char *stem = mangle(j->w[i].name), *path = stem ? file_in(dir, stem, i, &found) : NULL;
        gopt_status s = !stem || !path ? tool_no_memory(j->t)
                        : found        ? load_into(j, i, path)
                                       : tool_fail(j->t, GOPT_BAD_INPUT, dir, NULL,
                                                   "has no file for input %s: expected %s.npy, .npz, .pb, .json, .bin, .png, "
                                                          ".jpg, .ppm or input_%zu.pb",
                                                   j->w[i].name, stem, i);
        free(stem);
        free(path);
        TRY(s);
    }
    return GOPT_OK;
}

/* input_N.pb, as ONNX's test data have them: the first so many inputs, the rest have defaults. */
static gopt_status from_test_data(job *j, const char *dir)
{
    for (size_t i = 0; i < j->n; i++) {
        char *path = text_of("%s/input_%zu.pb", dir, i);
        if (!path)
            return tool_no_memory(j->t);
        const gopt_status s = access(path, R_OK) ? tool_fail(j->t, GOPT_BAD_INPUT, path, NULL,
                                                             "is missing, expected input %s", j->w[i].name)
                                                 : load_into(j, i, path);
        free(path);
        TRY(s);
    }
    return GOPT_OK;
}

/* Is a dim of any input still open, whether it has a symbol or no name at all? */
static bool any_open(const gopt_graph *g)
{
    for (size_t i = 0; i < gopt_graph_input_count(g); i++) {
        const gopt_value *v = gopt_graph_get_input(g, i);
        for (int k = 0; gopt_value_kind(v) == GOPT_TENSOR && k < gopt_value_rank(v); k++)
            if (gopt_value_dim(v, k) < 0)
                return true;
    }
    return false;
}

/* Shapes of what was given fix the graph's; what is then open becomes 1. */
static gopt_status fix_shapes(job *j)
{
    for (size_t i = 0; i < j->n; i++)
        if (j->in[i] && j->in[i]->kind == GOPT_TENSOR && gopt_value_kind(j->w[i].value) == GOPT_TENSOR) {
            const gopt_value *v = gopt_graph_get_input(j->g, i);
            bool open = gopt_value_rank(v) < 0;
            for (int k = 0; k < gopt_value_rank(v); k++)
                open |= gopt_value_dim(v, k) < 0;
            if (open)
                TRY(gopt_graph_fix_shape(j->g, j->w[i].name, j->in[i]->rank, j->in[i]->dims));
        }
    return any_open(j->g) ? gopt_graph_fix_rest(j->g) : GOPT_OK;
}

static gopt_status make_random(job *j, size_t i)
{
    tool *t = j->t;
    const gopt_value *v = gopt_graph_get_input(j->g, i);
    char type[256];
    gopt_value_type_text(v, type, sizeof type);
    if (gopt_value_kind(v) != GOPT_TENSOR || gopt_value_dtype(v) == GOPT_STRING)
        return tool_fail(t, GOPT_USAGE, tool_model(t), "give it with --input NAME=FILE, of kind .npy, .json or .pb",
                         "input %s is %s: no random one can be made", j->w[i].name, type);
    int64_t dims[GOPT_MAX_RANK];
    const int rank = gopt_value_rank(v);
    bool known = rank >= 0 && rank <= GOPT_MAX_RANK;
    for (int k = 0; known && k < rank; k++)
        known = (dims[k] = gopt_value_dim(v, k)) >= 0;
    if (!known)
        return tool_fail(t, GOPT_USAGE, tool_model(t), "fix it with --shape, or give --input",
                         "input %s is %s: its shape is not known", j->w[i].name, type);
    const gopt_status s = gopt_tensor_create(t->cx, gopt_value_dtype(v), rank, dims, &j->in[i]);
    if (s != GOPT_OK) {
        tool_forget(t);
        return tool_fail(t, s, tool_model(t), "give smaller dimensions with --shape or --dim, or raise --memory-limit",
                         "input %s is %s: %s", j->w[i].name, type,
                         s == GOPT_BAD_INPUT ? "that is larger than any memory" : "that does not fit in memory");
    }
    random_fill(j->in[i], j->w[i].name, t->o.seed, i);
    return GOPT_OK;
}

static gopt_status make_all(job *j, const char *test_data)
{
    tool *t = j->t;
    if (test_data)
        TRY(from_test_data(j, test_data));
    if (t->o.inputs_dir)
        TRY(from_folder(j, t->o.inputs_dir));
    for (size_t i = 0; i < t->o.inputs.n; i++)
        TRY(from_flag(j, t->o.inputs.p[i]));
    TRY(fix_shapes(j));
    size_t random = 0;
    for (size_t i = 0; i < j->n; i++)
        if (!j->in[i]) {
            random++;
            TRY(make_random(j, i));
        }
    if (random && t->o.inputs.n)
        tool_note(t, NULL, "%zu of %zu inputs were not given and are random", random, j->n);
    return GOPT_OK;
}

static gopt_status begin(job *j)
{
    j->n = gopt_graph_input_count(j->g);
    j->w = calloc(j->n + 1, sizeof *j->w);
    j->in = calloc(j->n + 1, sizeof *j->in);
    if (!j->w || !j->in)
        return tool_no_memory(j->t);
    for (size_t i = 0; i < j->n; i++) {
        j->w[i].value = gopt_graph_get_input(j->g, i);
        j->w[i].name = gopt_graph_input_name(j->g, i);
        gopt_value_type_text(j->w[i].value, j->w[i].type, sizeof j->w[i].type);
    }
    return GOPT_OK;
}

static gopt_status end(job *j, gopt_status s, gopt_tensor ***in, size_t *n)
{
    free(j->w);
    if (s != GOPT_OK) {
        tensors_free(j->in, j->n);
        j->in = NULL;
        j->n = 0;
    }
    *in = j->in;
    *n = j->n;
    return s;
}

gopt_status inputs_make(tool *t, gopt_graph *g, const char *test_data, gopt_tensor ***in, size_t *n)
{
    job j = { .t = t, .g = g };
    gopt_status s = begin(&j);
    if (s == GOPT_OK)
        s = make_all(&j, test_data);
    return end(&j, s, in, n);
}

static gopt_status from_file(job *j, const char *path)
{
    if (j->n != 1 && !ends_with(path, ".npz"))
        return tool_fail(j->t, GOPT_BAD_INPUT, path,
                         "give a .npz that holds all of them, or a folder with a file for each",
                         "is one tensor, and the model has %zu inputs", j->n);
    for (size_t i = 0; i < j->n; i++)
        TRY(load_into(j, i, path));
    return GOPT_OK;
}

gopt_status inputs_sample(tool *t, gopt_graph *g, const char *path, gopt_tensor ***in, size_t *n)
{
    struct stat st;
    job j = { .t = t, .g = g };
    gopt_status s = begin(&j);
    if (s == GOPT_OK)
        s = !stat(path, &st) && S_ISDIR(st.st_mode) ? from_folder(&j, path) : from_file(&j, path);
    return end(&j, s, in, n);
}

void tensors_free(gopt_tensor **p, size_t n)
{
    for (size_t i = 0; p && i < n; i++)
        gopt_tensor_unref(p[i]);
    free(p);
}

/* ---- outputs ---- */

static bool is_maps(const gopt_tensor *x)
{
    bool all = x->kind == GOPT_MAP || (x->kind == GOPT_SEQUENCE && x->n_items > 0);
    for (size_t i = 0; x->kind == GOPT_SEQUENCE && i < x->n_items && all; i++)
        all = x->items[i] && x->items[i]->kind == GOPT_MAP;
    return all;
}

static gopt_status save_one(tool *t, const char *dir, const char *stem, const gopt_tensor *x)
{
    if (x && is_maps(x)) {
        char *json = text_of("%s/%s.json", dir, stem);
        const gopt_status s = json ? json_save_maps(t, json, x) : tool_no_memory(t);
        free(json);
        return s;
    }
    if (!x || x->kind != GOPT_TENSOR) {
        if (!x || !x->n_items)
            tool_note(t, NULL, "output %s is empty: nothing written", stem);
        for (size_t i = 0; x && i < x->n_items; i++) {
            char *item = text_of("%s_%zu", stem, i);
            const gopt_status s = !item ? tool_no_memory(t)
                                  : x->items[i] && x->items[i]->kind == GOPT_TENSOR
                                      ? save_one(t, dir, item, x->items[i])
                                      : tool_fail(t, GOPT_UNSUPPORTED, NULL, NULL,
                                                  "output %s holds a nested sequence: there is no file for it", stem);
            free(item);
            TRY(s);
        }
        return GOPT_OK;
    }
    char *path = text_of("%s/%s.npy", dir, stem);
    if (!path)
        return tool_no_memory(t);
    const gopt_status s = npy_save(t, path, x);
    free(path);
    return s;
}

gopt_status outputs_save(tool *t, const gopt_graph *g, const gopt_tensor *const *out, size_t n)
{
    const char *dir = t->o.output_dir;
    TRY(tool_make_dir(t, dir));
    char **stems = calloc(n + 1, sizeof *stems);
    gopt_status s = stems ? GOPT_OK : tool_no_memory(t);
    for (size_t i = 0; s == GOPT_OK && i < n; i++) {
        char *stem = mangle(gopt_graph_output_name(g, i));
        int again = 1;
        for (size_t k = 0; stem && k < i; k++)
            if (stems[k] && !strcmp(stems[k], stem)) { /* taken: NAME_2, NAME_3 … */
                char *plain_stem = mangle(gopt_graph_output_name(g, i));
                free(stem);
                stem = plain_stem ? text_of("%s_%d", plain_stem, ++again) : NULL;
                free(plain_stem);
                k = SIZE_MAX; /* look again from the first */
            }
        stems[i] = stem;
        s = stem ? save_one(t, dir, stem, out[i]) : tool_no_memory(t);
    }
    for (size_t i = 0; stems && i < n; i++)
        free(stems[i]);
    free(stems);
    return s;
}
