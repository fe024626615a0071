/* The timing cache's file (timing_cache.h). */
#include "backend/timing_cache.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

struct gi_timings {
    gopt_ctx *cx;
    gi_arena *arena;
    const char *path, *machine;
    json_t *entries; /* as read, and what was put */
    json_t *made;    /* what was put since the last save */
};

/* The file's entries; NULL where there are none to be had, and then *damaged says whether there is something else. */
static json_t *read_entries(const char *path, bool *damaged)
{
    *damaged = false;
    if (access(path, F_OK) != 0)
        return NULL;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL), *entries = NULL;
    const json_t *version = json_object_get(root, "gopt_timing_cache");
    if (json_integer_value(version) == 1)
        entries = json_incref(json_object_get(root, "entries"));
    const bool of_later = json_is_integer(version) && json_integer_value(version) > 1;
    json_decref(root);
    if (json_is_object(entries))
        return entries;
    json_decref(entries);
    *damaged = !of_later;
    return NULL;
}

static void set_aside(gi_timings *t)
{
    const char *to = gi_arena_printf(t->arena, "%s.corrupt", t->path);
    const gi_place at = { .file = t->path };
    if (to && rename(t->path, to) == 0)
        gi_warn(t->cx, &at, NULL, "this is no timing cache of gopt: it was set aside as %s, and a new one is made", to);
    else
        gi_warn(t->cx, &at, "name another file with --timing-cache", "this is no timing cache of gopt: it is ignored");
}

gopt_status gi_timings_open(gopt_ctx *cx, const char *path, const char *machine, gi_timings **out)
{
    gi_arena *arena = gi_arena_create(cx);
    gi_timings *t = arena ? GI_NEW(arena, gi_timings) : NULL;
    *out = NULL;
    if (!t) {
        gi_arena_destroy(arena);
        return GOPT_NO_MEMORY;
    }
    *t = (gi_timings){ .cx = cx, .arena = arena, .path = gi_arena_str(arena, path) };
    t->machine = gi_arena_str(arena, machine);
    t->made = json_object();
    bool damaged = false;
    if (t->path)
        t->entries = read_entries(t->path, &damaged);
    if (damaged)
        set_aside(t);
    if (!t->entries)
        t->entries = json_object();
    if (!t->machine || !t->made || !t->entries || (path && !t->path)) {
        gi_timings_close(t);
        return GOPT_NO_MEMORY;
    }
    *out = t;
    return GOPT_OK;
}

void gi_timings_close(gi_timings *t)
{
    if (!t)
        return;
    json_decref(t->entries);
    json_decref(t->made);
    gi_arena_destroy(t->arena);
}

const char *gi_timings_machine(const gi_timings *t)
{
    return t->machine;
}

bool gi_timings_find(const gi_timings *t, const char *key, gi_timing *out)
{
    const json_t *e = json_object_get(t->entries, key);
    const char *machine = json_string_value(json_object_get(e, "machine"));
    const json_t *tactic = json_object_get(e, "tactic"), *variant = json_object_get(e, "variant");
    if (!machine || strcmp(machine, t->machine) != 0 || !json_is_string(tactic) || !json_is_integer(variant) ||
        json_integer_value(variant) < 0 || json_integer_value(variant) > 1 << 20)
        return false;
    *out = (gi_timing){ .tactic = json_string_value(tactic),
                        .variant = (int)json_integer_value(variant),
                        .ms = json_number_value(json_object_get(e, "ms")) };
    return true;
}

bool gi_timings_put(gi_timings *t, const char *key, const char *step, const gi_timing *what)
{
    json_t *e = json_pack("{s:s, s:s, s:s, s:i, s:f}", "machine", t->machine, "step", step, "tactic", what->tactic,
                          "variant", what->variant, "ms", what->ms);
    const bool ok = e && json_object_set(t->entries, key, e) == 0 && json_object_set(t->made, key, e) == 0;
    json_decref(e);
    return ok;
}

/* ---- writing ---- */

static gopt_status write_merged(gi_timings *t)
{
    bool damaged;
    json_t *entries = read_entries(t->path, &damaged);
    if (!entries && !damaged && access(t->path, F_OK) == 0)
        return GOPT_OK; /* a later gopt's: it is not ours to overwrite */
    if (!entries)
        entries = json_object();
    json_object_update(entries, t->made);
    json_t *root = json_pack("{s:i, s:o}", "gopt_timing_cache", 1, "entries", entries);
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    json_decref(root);
    GI_NEED(text);
    const gopt_status st = gi_file_write(t->cx, t->path, text, strlen(text));
    free(text);
    return st;
}

gopt_status gi_timings_save(gi_timings *t)
{
    if (!t->path || !json_object_size(t->made))
        return GOPT_OK;
    const char *lock = gi_arena_printf(t->arena, "%s.lock", t->path);
    GI_NEED(lock);
    const int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        if (fd >= 0)
            close(fd);
        return gi_fail(t->cx, GOPT_BAD_INPUT, &(gi_place){ .file = t->path },
                       "name a file in a folder that you may write to", "the timing cache cannot be locked as %s",
                       lock);
    }
    const gopt_status st = write_merged(t);
    close(fd);
    if (st == GOPT_OK)
        json_object_clear(t->made);
    return st;
}
