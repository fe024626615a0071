/* When operators came, or came to mean what they do: Scan of opset 8 runs over a batch. */
#include <stdio.h>

#include "ir/op.h"

static const struct {
    int opset;
    const char *ops; /* each between spaces */
} introduced[] = {
    { 7, " Acos Asin Atan Cos Multinomial Sin Tan " },
    { 8, " Expand " },
    { 9, " Acosh Asinh Atanh Compress ConstantOfShape Cosh Erf EyeLike IsNaN MaxUnpool MeanVarianceNormalization"
         " NonZero OneHot Scan Shrink Sign Sinh TfIdfVectorizer Where " },
    { 10, " ConvInteger DequantizeLinear IsInf MatMulInteger Mod NonMaxSuppression QLinearConv QLinearMatMul"
          " QuantizeLinear ReverseSequence RoiAlign StringNormalizer ThresholdedRelu " },
    { 11, " BitShift ConcatFromSequence CumSum Det DynamicQuantizeLinear GatherElements GatherND Range Round ScatterND"
          " SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence"
          " Unique " },
    { 12, " Celu Einsum GreaterOrEqual LessOrEqual NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss " },
    { 14, " HardSwish Trilu " },
    { 15, " Bernoulli CastLike Optional OptionalGetElement OptionalHasElement " },
    { 16, " GridSample " },
    { 17, " BlackmanWindow DFT HammingWindow HannWindow LayerNormalization MelWeightMatrix STFT SequenceMap " },
    { 18, " BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im GroupNormalization Mish " },
    { 19, " DeformConv " },
    { 20, " AffineGrid Gelu ImageDecoder RegexFullMatch StringConcat StringSplit " },
    { 23, " Attention RMSNormalization RotaryEmbedding " },
    { 24, " Swish TensorScatter " },
    { 26, " BitCast CumProd " },
    { 27, " CausalConvWithState LinearAttention " },
};

int gi_op_introduced(const char *name)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", name);
    for (size_t i = 0; i < GI_COUNT(introduced); i++)
        if (strstr(introduced[i].ops, word))
            return introduced[i].opset;
    return 1;
}
