/* Which fusions of one network another one lacks, and why. */
#ifndef FUSIONS_H
#define FUSIONS_H

#include "tool.h"

typedef struct lost_fusion {
    char *what;         /* "Conv + Relu at /stem/conv, /stem/relu" */
    const char *reason; /* from the other's ledger where it has one; lives as long as its report */
} lost_fusion;

typedef struct lost_fusions {
    lost_fusion *p;
    size_t n;
} lost_fusions;

/* A fusion of `a` is kept where one of `b` holds all of its nodes that b has. Models whose nodes have other names are
 * compared by what is fused and how often. Both must have kept their graphs and reports. */
gopt_status fusions_compare(tool *t, const answers *a, const answers *b, lost_fusions *out);
void fusions_free(lost_fusions *l);

#endif
