/* What is left of TorchScript. */
#include "aten/aten.h"

/* The tensors of a list, each as a result: those that the list was made of, or taken out of it. */
bool gi_aten_list_unpack(gi_aten *a)
{
    gi_value *list = gi_aten_tensor(a, "list");
    gi_node *made = gi_value_node(list);
    for (uint32_t i = 0; i < a->n->n_out; i++) {
        const int64_t at = i;
        gi_value *part = made && made->op == OP_SequenceConstruct
                             ? gi_node_in(made, i)
                             : gi_aten_2(a, OP_SequenceAt, list, gi_const_i64(a->g, 0, 1, &at));
        if (!part)
            return gi_aten_decline(a, "the list has %u tensors, expected %u", made ? made->n_in : 0, a->n->n_out);
        if (!gi_aten_return(a, i, part))
            return false;
    }
    return true;
}
