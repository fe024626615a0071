/* --html: the page is begun when the model is loaded, hears of every pass, and is written at the end. */
#include <stdlib.h>

#include "tool.h"

gopt_status page_begin(tool *t, gopt_graph *g)
{
    if (!t->o.html)
        return GOPT_OK;
    if (!t->page)
        TRY(gopt_page_create(t->cx, tool_model(t), &t->page));
    gopt_page_stage(t->page, g, "as loaded", 0);
    return GOPT_OK;
}

void page_put(tool *t, const char *key, json_t *j)
{
    char *text = t->page && j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        gopt_page_put(t->page, key, text);
    free(text);
    json_decref(j);
}

gopt_status page_write(tool *t, gopt_graph *g, const gopt_report *report)
{
    const gopt_unsupported *list = NULL;
    size_t n = 0;
    if (!t->page)
        return GOPT_OK;
    gopt_page_stage(t->page, g, "result", report ? (int)gopt_report_get(report)->n_passes : 0);
    if (report)
        gopt_page_report(t->page, gopt_report_get(report));
    TRY(gopt_find_unsupported(g, &list, &n));
    page_put(t, "unsupported", json_unsupported(list, n));
    progress *p = progress_start(t, "writing the page");
    const gopt_status s = gopt_page_save(t->page, t->o.html);
    progress_stop(p);
    return s;
}
