/* Plugins: loading and registering, and which operator a node is. plugin_call.c calls them. */
#include "ops/plugin.h"

#include <dlfcn.h>
#include <unistd.h>

/* Of a context: gopt_ctx.plugins. */
typedef struct registered {
    gi_arena *arena;
    gi_vec(gi_plugin_op *) ops;
    gi_vec(void *) objects; /* of dlopen */
} registered;

static void close_all(gopt_ctx *cx)
{
    registered *r = cx->plugins;
    for (size_t i = r->objects.n; i-- > 0;)
        dlclose(r->objects.p[i]);
    gi_arena_destroy(r->arena);
    cx->plugins = NULL;
}

static registered *get_registered(gopt_ctx *cx)
{
    if (cx->plugins)
        return cx->plugins;
    gi_arena *a = gi_arena_create(cx);
    registered *r = a ? GI_NEW(a, registered) : NULL;
    if (!r) {
        gi_arena_destroy(a);
        return NULL;
    }
    r->arena = a;
    cx->plugins = r;
    cx->plugins_close = close_all;
    return r;
}

/* ---- names ---- */

static bool is_aten(const char *domain)
{
    return !strcmp(domain, "org.pytorch.aten") || !strcmp(domain, "aten");
}

/* PyTorch's name of what an exporter left, in whichever spelling, and its length without overload; NULL where the node
 * is none of PyTorch's. gi_aten_decode says more, by its table. */
static const char *aten_name(const gi_node *n, size_t *len)
{
    const char *name = n->op_name ? n->op_name : "";
    const gi_attr *given = gi_attr_find(n, "operator");
    const bool generic = !strcmp(name, "ATen") || !strcmp(name, "ATenOp");
    if (generic && given && given->kind == GI_ATTR_STRING)
        name = given->u.s;
    else if (strncmp(name, "aten::", 6) != 0 && !(n->domain && is_aten(n->domain)))
        return NULL;
    name += strncmp(name, "aten::", 6) ? 0 : 6;
    *len = strcspn(name, ".");
    return name;
}

static const char *plain_domain(const char *domain)
{
    return !domain || !strcmp(domain, "ai.onnx") ? "" : domain;
}

const gi_plugin_op *gi_plugin_of(const gi_node *n)
{
    const registered *r = n->op == OP_Unknown && n->block ? n->block->graph->cx->plugins : NULL;
    size_t len = 0;
    if (!r || !n->op_name)
        return NULL;
    const char *aten = aten_name(n, &len);
    for (size_t i = 0; i < r->ops.n; i++) {
        const gopt_plugin_op *o = &r->ops.p[i]->op;
        if (aten && is_aten(o->domain) && !strncmp(o->name, aten, len) && !o->name[len])
            return r->ops.p[i];
        if (!strcmp(o->name, n->op_name) && !strcmp(o->domain, plain_domain(n->domain)))
            return r->ops.p[i];
    }
    return NULL;
}

bool gi_node_evaluates(const gi_node *n)
{
    return gi_op_get(n->op)->eval || gi_plugin_of(n);
}

unsigned gi_node_traits(const gi_node *n)
{
    const gi_plugin_op *p = gi_plugin_of(n);
    return p ? (p->op.pure ? GI_PURE : 0) : gi_op_get(n->op)->traits;
}

bool gopt_node_plugin(const gopt_node *n, gopt_plugin_use *out)
{
    const gi_plugin_op *p = gi_plugin_of(n);
    if (p)
        *out = (gopt_plugin_use){ .file = p->file, .domain = p->op.domain, .name = p->op.name, .means = p->op.means };
    return p != NULL;
}

/* ---- adding ---- */

static gopt_status refuse(gopt_ctx *cx, const char *file, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static gopt_status refuse(gopt_ctx *cx, const char *file, const char *hint, const char *fmt, ...)
{
    const gi_place at = { .file = file };
    va_list args;
    va_start(args, fmt);
    const gopt_status st = gi_vfail(cx, GOPT_BAD_INPUT, &at, hint, fmt, args);
    va_end(args);
    return st;
}

static const gi_plugin_op *find_same(const registered *r, const char *domain, const char *name)
{
    for (size_t i = 0; i < r->ops.n; i++) {
        const gopt_plugin_op *o = &r->ops.p[i]->op;
        if (!strcmp(o->name, name) && (!strcmp(o->domain, domain) || (is_aten(o->domain) && is_aten(domain))))
            return r->ops.p[i];
    }
    return NULL;
}

static gopt_status check_op(gopt_ctx *cx, const registered *r, const char *file, const gopt_plugin_op *op)
{
    if (op->abi != GOPT_PLUGIN_ABI)
        return refuse(cx, file, "compile it against this version's gopt/plugin.h",
                      "a plugin's operator has ABI %u, expected %u", op->abi, GOPT_PLUGIN_ABI);
    if (!op->name || !*op->name)
        return refuse(cx, file, NULL, "a plugin's operator has no name");
    const char *domain = plain_domain(op->domain);
    const char *shown = *domain ? domain : "ai.onnx";
    if (!op->types || !op->run)
        return refuse(cx, file, NULL, "the plugin's operator %s::%s has no function `%s`", shown, op->name,
                      op->types ? "run" : "types");
    if (gi_op_find(domain, op->name) != OP_Unknown)
        return refuse(cx, file, "a plugin cannot replace it: give it a domain of its own",
                      "the plugin claims %s::%s, an operator that gopt has", shown, op->name);
    const gi_plugin_op *same = find_same(r, domain, op->name);
    if (same)
        return refuse(cx, file, "load one of them", "the plugin claims %s::%s, which %s gives already", shown, op->name,
                      same->file ? same->file : "the program");
    return GOPT_OK;
}

static gopt_status add(gopt_ctx *cx, const char *file, const gopt_plugin_op *op)
{
    registered *r = get_registered(cx);
    GI_NEED(r);
    if (!op)
        return refuse(cx, file, NULL, "the plugin adds NULL as an operator");
    GI_TRY(check_op(cx, r, file, op));
    gi_plugin_op *p = GI_NEW(r->arena, gi_plugin_op);
    GI_NEED(p);
    p->op = *op;
    p->op.domain = gi_arena_str(r->arena, plain_domain(op->domain));
    p->op.name = gi_arena_str(r->arena, op->name);
    p->op.means = gi_arena_str(r->arena, op->means);
    p->op.opencl = NULL;
    p->file = gi_arena_str(r->arena, file);
    GI_NEED(p->op.domain && p->op.name && (p->op.means || !op->means) && (p->file || !file));
    GI_NEED(gi_push(r->arena, &r->ops, p));
    if (op->opencl) {
        const gi_place at = { .file = file };
        gi_note(cx, &at, NULL, "the plugin's OpenCL source of %s::%s is not used by this version: it runs on the cpu",
                *p->op.domain ? p->op.domain : "ai.onnx", p->op.name);
    }
    return GOPT_OK;
}

gopt_status gopt_ctx_add_operator(gopt_ctx *cx, const gopt_plugin_op *op)
{
    return add(cx, NULL, op);
}

/* ---- shared objects ---- */

typedef struct loading {
    gopt_ctx *cx;
    const char *file;
    gopt_status status; /* of the first operator that could not be added */
} loading;

static gopt_status add_from_object(gopt_plugin_registry *reg, const gopt_plugin_op *op)
{
    loading *l = reg->self;
    const gopt_status st = add(l->cx, l->file, op);
    if (l->status == GOPT_OK)
        l->status = st;
    return st;
}

static gopt_status register_object(gopt_ctx *cx, registered *r, const char *path, void *object)
{
    gopt_status (*entry)(gopt_plugin_registry *);
    const uint32_t *abi = dlsym(object, "gopt_plugin_abi_version");
    void *const symbol = dlsym(object, "gopt_plugin_register");
    if (!abi || !symbol)
        return refuse(cx, path, "define it with GOPT_PLUGIN(registry) { … } of gopt/plugin.h",
                      "it is no plugin of gopt: it has no symbol %s",
                      abi ? "gopt_plugin_register" : "gopt_plugin_abi_version");
    if (*abi != GOPT_PLUGIN_ABI)
        return refuse(cx, path, "compile it against this version's gopt/plugin.h",
                      "the plugin was made for ABI %u, this is %u", *abi, GOPT_PLUGIN_ABI);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C converts no object pointer to a function pointer */
    loading l = { .cx = cx, .file = path };
    gopt_plugin_registry reg = { .abi = GOPT_PLUGIN_ABI, .add = add_from_object, .self = &l };
    const size_t before = r->ops.n;
    gopt_status st = entry(&reg);
    if (l.status != GOPT_OK)
        st = l.status;
    else if (st != GOPT_OK)
        st = refuse(cx, path, NULL, "the plugin refuses to be registered (status %d)", (int)st);
    else if (r->ops.n == before)
        st = refuse(cx, path, NULL, "the plugin registers no operator");
    if (st != GOPT_OK)
        r->ops.n = before;
    return st;
}

gopt_status gopt_ctx_load_plugin(gopt_ctx *cx, const char *path)
{
    registered *r = get_registered(cx);
    GI_NEED(r);
    /* Without a slash the loader would look through the system's folders. */
    const char *where = strchr(path, '/') ? path : gi_arena_printf(r->arena, "./%s", path);
    GI_NEED(where);
    if (access(where, R_OK))
        return refuse(cx, path, NULL, "the plugin cannot be read");
    void *object = dlopen(where, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        const char *why = dlerror();
        return refuse(cx, path, NULL, "the plugin cannot be loaded: %s", why ? why : "the loader does not say why");
    }
    gopt_status st = register_object(cx, r, path, object);
    if (st == GOPT_OK && !gi_push(r->arena, &r->objects, object))
        st = GOPT_NO_MEMORY;
    if (st != GOPT_OK)
        dlclose(object);
    return st;
}
