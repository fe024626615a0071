/* Text for a terminal: what names may hold is made harmless, widths are those of what is seen, and tables fit the window.
 *
 *   static const table_column columns[] = { { "operator", .grows = true }, { "nodes", .right = true } };
 *   table *x = table_create(t, columns, 2);
 *   table_add(x, "Conv");
 *   table_addf(x, "%d", 20);
 *   table_print(x);            // prints, and destroys
 *
 * In a pipe nothing is cut. */
#ifndef TABLE_H
#define TABLE_H

#include "tool.h"

typedef struct screen {
    int columns, rows; /* 0: stdout is no terminal */
} screen;

screen screen_of(void);

/* Cells that the text takes; of what is no UTF-8, or is not to be printed, one each. */
int text_columns(const char *text);
/* A copy that a terminal takes for text: controls, marks that turn the direction, and what is no UTF-8 become '?'. Where
 * `most` is positive and the text is wider, its middle is cut out. Freed by the caller; NULL without memory. */
char *text_fit(const char *text, int most);

/* The same, but for the cut, which is at the end. */
char *text_head(const char *text, int most);
void text_put(FILE *to, const char *text);     /* whole, as a terminal takes it; "?" without memory */
void text_column(const char *text, int width); /* to stdout: cut or padded to so many cells, and a space */

typedef struct table_column {
    const char *title;
    bool right;
    bool grows; /* gives way where the window is narrow, down to `least` cells */
    int least;
    bool drops; /* left out where the window is too narrow even so, the last first */
} table_column;

typedef struct table table;

table *table_create(const tool *t, const table_column *columns, size_t n); /* NULL without memory */
void table_add(table *x, const char *text);                                /* the next cell; x may be NULL */
void table_addf(table *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_mark(table *x); /* the next cell in red */
gopt_status table_print(table *x);

#endif
