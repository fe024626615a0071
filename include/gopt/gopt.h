/* All of gopt's public interface. */
#ifndef GOPT_H
#define GOPT_H

#include "gopt/engine.h"
#include "gopt/graph.h"
#include "gopt/image.h"
#include "gopt/lint.h"
#include "gopt/pass.h"
#include "gopt/plan.h"
#include "gopt/plugin.h"
#include "gopt/ranges.h"
#include "gopt/report.h"
#include "gopt/status.h"
#include "gopt/tensor.h"

#endif
