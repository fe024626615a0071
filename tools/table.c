/* Text and tables that fit a terminal. */
#include "table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- the window ---- */

screen screen_of(void)
{
    enum { USUAL_COLUMNS = 80, USUAL_ROWS = 24 };
    struct winsize w = { 0 };
    if (!isatty(1))
        return (screen){ 0, 0 };
    if (ioctl(1, TIOCGWINSZ, &w) != 0 || !w.ws_col || !w.ws_row)
        return (screen){ USUAL_COLUMNS, USUAL_ROWS };
    return (screen){ w.ws_col, w.ws_row };
}

/* ---- characters ---- */

typedef struct span {
    uint32_t first, last;
} span;

/* Marks that stand above or below what is before them: no cell of their own. */
static const span combining[] = {
    { 0x300, 0x36f },     { 0x483, 0x489 },     { 0x591, 0x5bd },   { 0x5bf, 0x5bf },   { 0x5c1, 0x5c2 },
    { 0x5c4, 0x5c5 },     { 0x5c7, 0x5c7 },     { 0x610, 0x61a },   { 0x64b, 0x65f },   { 0x670, 0x670 },
    { 0x6d6, 0x6dc },     { 0x6df, 0x6e4 },     { 0x6e7, 0x6e8 },   { 0x6ea, 0x6ed },   { 0x730, 0x74a },
    { 0x7a6, 0x7b0 },     { 0x900, 0x902 },     { 0x93c, 0x93c },   { 0x941, 0x948 },   { 0x94d, 0x94d },
    { 0xe31, 0xe31 },     { 0xe34, 0xe3a },     { 0xe47, 0xe4e },   { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },
    { 0x20d0, 0x20ff },   { 0x302a, 0x302d },   { 0x3099, 0x309a }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f },
    { 0x1f3fb, 0x1f3ff }, { 0xe0100, 0xe01ef },
};

/* Ideographs, syllables, full-width forms and pictographs: two cells. */
static const span wide[] = {
    { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0x33ff },   { 0x3400, 0x4dbf },
    { 0x4e00, 0x9fff },   { 0xa000, 0xa4cf },   { 0xa960, 0xa97f },   { 0xac00, 0xd7a3 },
    { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 },
    { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
};

/* Marks that change the direction of what follows, and what cannot be seen. */
static const span unseen[] = {
    { 0x7f, 0x9f },     { 0xad, 0xad },     { 0x61c, 0x61c },   { 0x200b, 0x200f },
    { 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xe0000, 0xe00ff },
};

static bool is_in(uint32_t c, const span *s, size_t n)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (s[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= s[low].first;
}

#define IS_IN(c, spans) is_in(c, spans, sizeof(spans) / sizeof((spans)[0]))

/* One character: its bytes, and the cells that it takes. */
typedef struct glyph {
    size_t bytes;
    int cells;
    bool bad; /* to be printed as '?' */
} glyph;

static glyph glyph_at(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    const glyph bad = { 1, 1, true };
    if (p[0] < 0x80)
        return (glyph){ 1, 1, p[0] < 0x20 || p[0] == 0x7f };
    const size_t n = (p[0] >> 5) == 6 ? 2 : (p[0] >> 4) == 14 ? 3 : (p[0] >> 3) == 30 ? 4 : 0;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t c = n ? p[0] & (0xffu >> (n + 1)) : 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return bad;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (!n || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return bad;
    if (IS_IN(c, unseen))
        return (glyph){ n, 1, true };
    return (glyph){ n, IS_IN(c, combining) ? 0 : IS_IN(c, wide) ? 2 : 1, false };
}

int text_columns(const char *text)
{
    int cells = 0;
    for (const char *p = text; *p && cells < 1 << 24;) {
        const glyph g = glyph_at(p);
        cells += g.cells;
        p += g.bytes;
    }
    return cells;
}

/* Of a text that is cut, `head` of so many cells are of its beginning. */
static char *fit(const char *text, int most, int head)
{
    const int total = text_columns(text);
    const bool cuts = most > 0 && total > most;
    const int tail = cuts ? most - 1 - head : 0;
    char *s = malloc(strlen(text) + 4), *to = s;
    int at = 0;
    bool cut = false;
    for (const char *p = text; s && *p;) {
        const glyph g = glyph_at(p);
        const bool kept = !cuts || (!cut && at + g.cells <= head) || at >= total - tail;
        if (kept && g.bad)
            *to++ = '?';
        else if (kept)
            to = (char *)memcpy(to, p, g.bytes) + g.bytes;
        else if (!cut)
            to = (char *)memcpy(to, "…", strlen("…")) + strlen("…");
        cut |= !kept;
        at += g.cells;
        p += g.bytes;
    }
    if (s)
        *to = 0;
    return s;
}

char *text_fit(const char *text, int most)
{
    return fit(text, most, (most - 1) / 3);
}

char *text_head(const char *text, int most)
{
    return fit(text, most, most - 1);
}

void text_put(FILE *to, const char *text)
{
    char *s = text_fit(text, 0);
    fputs(s ? s : "?", to);
    free(s);
}

void text_column(const char *text, int width)
{
    char *s = text_fit(text, width);
    const int pad = width - (s ? text_columns(s) : 1);
    printf("%s%*s ", s ? s : "?", pad, "");
    free(s);
}

/* ---- tables ---- */

typedef struct cell {
    char *text;
    bool red;
} cell;

struct table {
    const tool *t;
    const table_column *columns;
    size_t n, n_cells, room;
    cell *cells;
    bool red, failed;
    int window; /* columns; 0: a pipe */
    int *width; /* of columns, once it is printed; 0: left out */
};

table *table_create(const tool *t, const table_column *columns, size_t n)
{
    table *x = calloc(1, sizeof *x);
    if (x)
        *x = (table){ .t = t, .columns = columns, .n = n, .window = screen_of().columns };
    return x;
}

static void add_cell(table *x, char *text)
{
    if (x->n_cells == x->room) {
        const size_t room = x->room ? 2 * x->room : 64;
        cell *cells = realloc(x->cells, room * sizeof *cells);
        if (!cells) {
            free(text);
            x->failed = true;
            return;
        }
        x->cells = cells;
        x->room = room;
    }
    x->cells[x->n_cells++] = (cell){ text, x->red };
    x->red = false;
    x->failed |= !text;
}

void table_add(table *x, const char *text)
{
    if (x)
        add_cell(x, text_fit(text ? text : "", 0));
}

void table_addf(table *x, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    if (!x)
        return;
    va_start(args, fmt);
    const int n = vasprintf(&text, fmt, args);
    va_end(args);
    table_add(x, n < 0 ? NULL : text);
    x->failed |= n < 0;
    if (n >= 0)
        free(text);
}

void table_mark(table *x)
{
    if (x)
        x->red = true;
}

enum { MARGIN = 2, GAP = 2 };

static int total_width(const table *x, const int *width, bool least)
{
    int total = MARGIN - GAP;
    for (size_t c = 0; c < x->n; c++)
        if (width[c])
            total +=
                GAP + (least && x->columns[c].grows && width[c] > x->columns[c].least ? x->columns[c].least : width[c]);
    return total;
}

/* As wide as what is in them; then, where a row does not fit, columns are left out (0), and those that may, the widest
 * first, give way. */
static void fit_columns(const table *x, int *width)
{
    enum { MOST_IN_PIPE = 72 };
    for (size_t c = 0; c < x->n; c++) {
        width[c] = text_columns(x->columns[c].title);
        for (size_t i = c; i < x->n_cells; i += x->n) {
            const int w = text_columns(x->cells[i].text);
            if (w > width[c] && (x->window || w <= MOST_IN_PIPE))
                width[c] = w;
        }
    }
    for (size_t c = x->n; x->window && c-- > 0 && total_width(x, width, true) > x->window;)
        if (x->columns[c].drops)
            width[c] = 0;
    for (int total = total_width(x, width, false); x->window && total > x->window; total--) {
        size_t widest = x->n;
        for (size_t c = 0; c < x->n; c++)
            if (x->columns[c].grows && width[c] > x->columns[c].least && (widest == x->n || width[c] > width[widest]))
                widest = c;
        if (widest == x->n)
            break;
        width[widest]--;
    }
}

static void print_cell(const table *x, size_t column, const char *text, bool red_one)
{
    const int width = x->width[column];
    if (!width)
        return;
    char *s = x->window ? text_fit(text, width) : NULL;
    const char *shown = s ? s : text;
    const int pad = width - text_columns(shown);
    bool last = true;
    for (size_t c = column + 1; c < x->n; c++)
        last &= !x->width[c];
    if (x->columns[column].right && pad > 0)
        printf("%*s", pad, "");
    printf("%s%s%s", red_one ? red(x->t) : "", shown, red_one ? plain(x->t) : "");
    if (!x->columns[column].right && pad > 0 && !last)
        printf("%*s", pad, "");
    if (!last)
        printf("  ");
    free(s);
}

gopt_status table_print(table *x)
{
    if (!x)
        return GOPT_NO_MEMORY;
    x->width = calloc(x->n, sizeof *x->width);
    const gopt_status s = !x->width || x->failed ? GOPT_NO_MEMORY : GOPT_OK;
    if (s == GOPT_OK) {
        fit_columns(x, x->width);
        printf("  %s", dim(x->t));
        for (size_t c = 0; c < x->n; c++)
            print_cell(x, c, x->columns[c].title, false);
        printf("%s\n", plain(x->t));
        for (size_t i = 0; i + x->n <= x->n_cells; i += x->n) {
            printf("  ");
            for (size_t c = 0; c < x->n; c++)
                print_cell(x, c, x->cells[i + c].text, x->cells[i + c].red);
            putchar('\n');
        }
    }
    for (size_t i = 0; i < x->n_cells; i++)
        free(x->cells[i].text);
    free(x->cells);
    free(x->width);
    free(x);
    return s;
}
