/* Which nodes can work on blocked images: what layout.c asks, and the tactics must keep. */
#include "backend/cpu/cpu.h"

bool gi_cpu_takes_blocked(const gi_cpu *d, const gi_node *n)
{
    (void)d;
    (void)n;
    return false;
}

bool gi_cpu_makes_blocked(const gi_node *n)
{
    (void)n;
    return false;
}
