/* cmocka and what it needs before it, in the order that it wants. */
#ifndef GOPT_UNIT_H
#define GOPT_UNIT_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
