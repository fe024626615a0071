/* Element by element: PyTorch promotes types and takes Python numbers where ONNX wants operands of one type. */
#include "aten/aten.h"
#include "ir/dtype.h"

/* ---- of one operand; row->arg is the operator ---- */

static gi_opcode opcode(const gi_aten *a)
{
    return (gi_opcode)a->row->arg;
}

/* The operator takes every type that PyTorch's does. */
bool gi_aten_unary(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_1(a, opcode(a), gi_aten_tensor(a, "self")));
}

/* Integers and bool become f32 first. */
bool gi_aten_unary_float(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    if (!gi_aten_promote(a, GI_ATEN_TO_FLOAT, 1, (gi_value * *[]){ &x }))
        return false;
    return gi_aten_return(a, 0, gi_aten_1(a, opcode(a), x));
}

/* The value itself: contiguous, alias, detach … say nothing in ONNX. */
bool gi_aten_same(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_tensor(a, "self"));
}

/* ---- of two ---- */

bool gi_aten_binary(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    return gi_aten_return(a, 0, gi_aten_2(a, opcode(a), x, y));
}

/* x + alpha * y, x - alpha * y; bool + bool is their Or. */
bool gi_aten_add_sub(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    double alpha = 1;
    if ((gi_aten_has(a, "alpha") && !gi_aten_float(a, "alpha", &alpha)) ||
        !gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    if (t == GOPT_BOOL)
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Or, x, y));
    if (alpha != 1)
        y = gi_aten_2(a, OP_Mul, y, gi_aten_scalar_value(a, "alpha", t));
    return gi_aten_return(a, 0, gi_aten_2(a, opcode(a), x, y));
}

/* ---- bounds ---- */

/* Bounds may be numbers or tensors of their own types, either may be missing; the lower one goes first, so that
 * the upper one wins where they cross. */
bool gi_aten_clamp(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *low = gi_aten_tensor(a, "min"), *high = gi_aten_tensor(a, "max");
    if (!low && !high)
        return gi_aten_decline(a, "neither min nor max is given");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 3, (gi_value * *[]){ &x, &low, &high }))
        return false;
    x = low ? gi_aten_2(a, OP_Max, x, low) : x;
    return gi_aten_return(a, 0, high ? gi_aten_2(a, OP_Min, x, high) : x);
}
