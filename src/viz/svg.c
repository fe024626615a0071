/* SVG, PNG and PDF through graphviz, in a process of its own: its layout can take any time and memory, keeps global state,
 * and ends its process on some faults.
 *
 * The parent writes the DOT text to a temporary file, starts `HELPER --render-svg IN.dot OUT.svg` (the ending says what
 * is written), and kills it when its time is over; the helper limits its own memory and CPU time before it lays anything
 * out. What graphviz fails at is drawn by draw.c, as SVG. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "viz/picture.h"

#ifdef GI_HAVE_GRAPHVIZ
#include <graphviz/gvc.h>
#endif

extern char **environ;

enum { SECONDS = 30 };
#define MEMORY ((uint64_t)2 << 30)

static const char seconds_name[] = "GOPT_SVG_SECONDS", memory_name[] = "GOPT_SVG_MEMORY";

/* ---- in the parent ---- */

gopt_status gopt_text_save(gopt_ctx *cx, const char *path, const char *text)
{
    return gi_file_write(cx, path, text, strlen(text));
}

typedef struct rendering {
    gopt_ctx *cx;
    gi_arena *arena;
    const char *helper, *folder, *in, *out, *errors;
    const char *format; /* "svg", "png" or "pdf" */
    int seconds;
    uint64_t memory;
    const char *why; /* it failed; NULL: the context's diagnostics say so */
    const char *hint;
} rendering;

/* Notes why graphviz did not draw. */
static gopt_status decline(rendering *r, const char *hint, const char *why)
{
    GI_NEED(why);
    r->why = why;
    r->hint = hint;
    return GOPT_UNSUPPORTED;
}

/* The environment with the two limits added. */
static char **with_limits(const rendering *r)
{
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **e = GI_NEW_ARRAY(r->arena, char *, n + 3);
    if (!e)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "GOPT_SVG_", 9) != 0)
            e[kept++] = environ[i];
    e[kept++] = gi_arena_printf(r->arena, "%s=%d", seconds_name, r->seconds);
    e[kept++] = gi_arena_printf(r->arena, "%s=%llu", memory_name, (unsigned long long)r->memory);
    return e[kept - 1] && e[kept - 2] ? e : NULL;
}

/* Waits at most so many seconds. False where the time ran out: then the process is gone too. */
static bool wait_for(pid_t pid, int seconds, int *status)
{
    const double end = gi_now() + seconds;
    for (int step = 1;; step = step < 50 ? step * 2 : 50) {
        const pid_t done = waitpid(pid, status, WNOHANG);
        if (done == pid || (done < 0 && errno != EINTR))
            return true;
        if (gi_now() > end)
            break;
        poll(NULL, 0, step);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return false;
}

/* The first line that the helper wrote about a failure. */
static const char *first_error(const rendering *r)
{
    char line[300] = "";
    FILE *f = fopen(r->errors, "r");
    const bool read = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = 0;
    const char *copy = read && *line ? gi_arena_str(r->arena, line) : NULL;
    return copy ? copy : "it gave no reason";
}

static gopt_status start_and_wait(rendering *r)
{
    static const char *const hint = "the DOT file may be drawn by other means: dot -Tsvg, or sfdp for large graphs";
    char *const argv[] = { (char *)(uintptr_t)r->helper, (char *)(uintptr_t) "--render-svg", (char *)(uintptr_t)r->in,
                           (char *)(uintptr_t)r->out, NULL };
    char **env = with_limits(r);
    GI_NEED(env);
    posix_spawn_file_actions_t actions;
    GI_NEED(!posix_spawn_file_actions_init(&actions));
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, r->errors, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid;
    int status = 0;
    const int failed = posix_spawn(&pid, r->helper, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return decline(
            r, NULL,
            gi_arena_printf(r->arena, "the drawing process %s cannot be started: %s", r->helper, strerror(failed)));
    if (!wait_for(pid, r->seconds, &status) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU))
        return decline(r, hint, gi_arena_printf(r->arena, "graphviz took over %d s to lay the graph out", r->seconds));
    if (WIFSIGNALED(status))
        return decline(
            r, hint,
            gi_arena_printf(r->arena,
                            "graphviz ended by signal %d (%s), perhaps for want of memory: it may take %llu MiB",
                            WTERMSIG(status), strsignal(WTERMSIG(status)), (unsigned long long)(r->memory >> 20)));
    if (WEXITSTATUS(status) == GOPT_UNSUPPORTED)
        return decline(r,
                       "install graphviz' library (Debian and Ubuntu: apt-get install libgraphviz-dev) and build again",
                       "this build of gopt has no graphviz");
    if (WEXITSTATUS(status))
        return decline(r, hint, gi_arena_printf(r->arena, "graphviz could not draw the graph: %s", first_error(r)));
    return GOPT_OK;
}

/* The SVG from its temporary place to where it belongs, whole or not at all. */
static gopt_status deliver(const rendering *r, const char *path)
{
    gi_file *f;
    GI_TRY(gi_file_open(r->cx, r->out, &f));
    const gopt_status s = gi_file_write(r->cx, path, f->data, f->size);
    gi_file_unref(f);
    return s;
}

static const char *own_program(gi_arena *a)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 ? gi_arena_strn(a, path, (size_t)n) : NULL;
}

static gopt_status render(rendering *r, const char *dot, const char *path)
{
    const char *temporary = getenv("TMPDIR");
    char *folder = gi_arena_printf(r->arena, "%s/gopt-svg-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    GI_NEED(folder);
    if (!mkdtemp(folder))
        return gi_fail(r->cx, GOPT_BAD_INPUT, &(gi_place){ .file = folder },
                       "set TMPDIR to a folder that can be written", "no temporary folder can be made: %s",
                       strerror(errno));
    r->in = gi_arena_printf(r->arena, "%s/in.dot", folder);
    r->out = gi_arena_printf(r->arena, "%s/out.%s", folder, r->format);
    r->errors = gi_arena_printf(r->arena, "%s/errors", folder);
    gopt_status s = r->in && r->out && r->errors ? GOPT_OK : GOPT_NO_MEMORY;
    if (s == GOPT_OK)
        s = gi_file_write(r->cx, r->in, dot, strlen(dot));
    if (s == GOPT_OK)
        s = start_and_wait(r);
    if (s == GOPT_OK)
        s = deliver(r, path);
    const char *const made[] = { r->in, r->out, r->errors };
    for (size_t i = 0; i < GI_COUNT(made); i++)
        if (made[i])
            unlink(made[i]);
    rmdir(folder);
    return s;
}

/* GOPT_UNSUPPORTED with r->why, or without it where a diagnostic says the rest. */
static gopt_status graphviz(rendering *r, const char *dot, const char *path, const char *format,
                            const gopt_svg_options *o)
{
    r->format = format;
    r->helper = o && o->helper ? o->helper : own_program(r->arena);
    r->seconds = o && o->seconds > 0 ? o->seconds : SECONDS;
    r->memory = o && o->memory ? o->memory : MEMORY;
    return r->helper ? render(r, dot, path)
                     : decline(r, NULL, "the program that draws cannot be found: /proc is not there");
}

gopt_status gopt_svg_save(gopt_ctx *cx, const char *dot, const char *path, const gopt_svg_options *o)
{
    rendering r = { .cx = cx, .arena = gi_arena_create(cx) };
    GI_NEED(r.arena);
    gopt_status s = graphviz(&r, dot, path, "svg", o);
    if (r.why)
        s = gi_fail(cx, s, NULL, r.hint, "%s", r.why);
    gi_arena_destroy(r.arena);
    return s;
}

/* ---- pictures of graphs ---- */

static const char *const formats[] = { [GOPT_SVG] = "svg", [GOPT_PNG] = "png", [GOPT_PDF] = "pdf" };

static gopt_status draw_ourselves(const rendering *r, const gi_view *v, const char *path)
{
    gi_str svg;
    gi_str_init(&svg, r->arena);
    GI_TRY(gi_draw_write(v, &svg));
    return gi_file_write(r->cx, path, svg.p, svg.n);
}

static gopt_status save_view(rendering *r, const gi_view *v, const char *path, gopt_picture_format format,
                             const gopt_svg_options *o)
{
    enum {
        MOST_SPAN = 4000
    }; /* 2,517 took 8 s, 5,952 over 30 s, and DenseNet-121 has 27,819; MiniLM as a pair 2,148 */
    const size_t span = gi_picture_span(&v->first) + (v->pair ? gi_picture_span(&v->second) : 0);
    gi_str dot;
    gi_str_init(&dot, r->arena);
    gopt_status s;
    if (format == GOPT_SVG && span > MOST_SPAN) {
        s = decline(
            r, NULL,
            gi_arena_printf(r->arena, "arcs pass %zu layers in all, which graphviz cannot lay out in its time", span));
    } else {
        GI_TRY(gi_dot_write(v, &dot));
        s = graphviz(r, dot.p, path, formats[format], o);
    }
    if (!r->why)
        return s;
    if (format != GOPT_SVG)
        return gi_fail(r->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = path },
                       "write an SVG instead, which needs no graphviz", "%s", r->why);
    GI_TRY(draw_ourselves(r, v, path));
    gi_note(r->cx, &(gi_place){ .file = path }, NULL, "%s: drawn by gopt's own layout", r->why);
    return GOPT_OK;
}

gopt_status gopt_picture_save(gopt_graph *g, gopt_graph *after, const gopt_dot_options *what, const char *path,
                              gopt_picture_format format, const gopt_svg_options *how)
{
    rendering r = { .cx = g->cx, .arena = gi_arena_create(g->cx) };
    gi_view v;
    GI_NEED(r.arena);
    gopt_status s = gi_view_make(r.arena, g, after, what, &v);
    if (s == GOPT_OK)
        s = save_view(&r, &v, path, format, how);
    gi_arena_destroy(r.arena);
    return s;
}

/* ---- in the helper ---- */

/* What the path's ending says; SVG else. */
static const char *format_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < GI_COUNT(formats); i++)
        if (!strcmp(dot + 1, formats[i]))
            return formats[i];
    return formats[GOPT_SVG];
}

static struct rlimit limit(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    const unsigned long long v = text ? strtoull(text, NULL, 10) : 0;
    const rlim_t value = v ? (rlim_t)v : (rlim_t)otherwise;
    return (struct rlimit){ .rlim_cur = value, .rlim_max = value };
}

int gopt_svg_helper(const char *dot_path, const char *svg_path)
{
    const struct rlimit seconds = limit(seconds_name, SECONDS);
    setrlimit(RLIMIT_CPU, &seconds);
#if !defined(__SANITIZE_ADDRESS__) /* the sanitizer reserves terabytes */
    const struct rlimit memory = limit(memory_name, MEMORY);
    setrlimit(RLIMIT_AS, &memory);
#endif
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
#ifdef GI_HAVE_GRAPHVIZ
    FILE *f = fopen(dot_path, "r");
    if (!f) {
        fprintf(stderr, "%s cannot be read: %s\n", dot_path, strerror(errno));
        return GOPT_BAD_INPUT;
    }
    GVC_t *gvc = gvContext();
    Agraph_t *g = gvc ? agread(f, NULL) : NULL;
    fclose(f);
    if (!g) {
        fprintf(stderr, "%s is no DOT\n", dot_path);
        return GOPT_BAD_INPUT;
    }
    int failed = gvLayout(gvc, g, "dot");
    if (!failed)
        failed = gvRenderFilename(gvc, g, format_of(svg_path), svg_path);
    if (failed)
        fprintf(stderr, "layout failed\n");
    gvFreeLayout(gvc, g);
    agclose(g);
    gvFreeContext(gvc);
    return failed ? GOPT_BAD_INPUT : 0;
#else
    (void)dot_path;
    (void)svg_path;
    return GOPT_UNSUPPORTED;
#endif
}
