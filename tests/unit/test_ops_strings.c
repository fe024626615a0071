/* Operators on strings: what ONNX's tests and the comparison with ONNX Runtime leave out, above all what is refused. */
#include "unit/gir.h"

static const char *split(const char *text, const char *attrs)
{
    static char body[512];
    snprintf(body, sizeof body, "%%t, %%y = StringSplit dense<string[2], [%s]> { %s }", text, attrs);
    return body;
}

static void splits(void **state)
{
    (void)state;
    evaluates(split("\"a,b,\", \"\"", "delimiter = \",\""), "2: 3 1");
    evaluates(split("\" a b \", \"\"", "delimiter = \"\""), "2: 2 0");
    evaluates(split("\"aaa\", \"aaaa\"", "delimiter = \"aa\""), "2: 2 3");
    evaluates(split("\"a b c\", \"a\"", "maxsplit = 1"), "2: 2 1");
    eval_refuses(split("\"a\", \"b\"", "maxsplit = -1"), "maxsplit is -1");
    infers("%x: string[n,3]", "%y, %z = StringSplit %x", "string[n,3,?1]");
    infers("%x: string[n,3]", "%z, %y = StringSplit %x", "i64[n,3]");
}

static void joins(void **state)
{
    (void)state;
    infers("%a: string[n,1], %b: string[3]", "%y = StringConcat %a, %b", "string[n,3]");
    infer_refuses("%a: string[2], %b: f32[2]", "%y = StringConcat %a, %b", "expected strings");
    eval_refuses("%y = StringConcat dense<string[2], [\"a\",\"b\"]>, dense<string[3], [\"a\",\"b\",\"c\"]>",
                 "does not broadcast");
}

static void normalizes(void **state)
{
    (void)state;
    infers("%x: string[3]", "%y = StringNormalizer %x", "string[3]");
    infers("%x: string[1,3]", "%y = StringNormalizer %x { stopwords = [\"a\"] }", "string[1,?1]");
    infer_refuses("%x: string[2,3]", "%y = StringNormalizer %x", "[C] or [1,C]");
    infer_refuses("%x: string[3]", "%y = StringNormalizer %x { case_change_action = \"TITLE\" }",
                  "NONE, LOWER or UPPER");
    evaluates("%t = StringNormalizer dense<string[3], [\"a\",\"B\",\"c\"]> { stopwords = [\"b\",\"C\"] }\n"
              "%y = Equal %t, dense<string[], [\"a\"]>",
              "1: 1");
    /* One byte of two. */
    eval_refuses("%y = StringNormalizer dense<string[1], [\"ab\\xc3\"]> { case_change_action = \"UPPER\" }",
                 "no valid UTF-8");
}

static const char *match(const char *pattern)
{
    static char body[512];
    snprintf(body, sizeof body, "%%y = RegexFullMatch dense<string[3], [\"ab\", \"aab\", \"\"]> { pattern = \"%s\" }",
             pattern);
    return body;
}

static void matches(void **state)
{
    (void)state;
    infers("%x: string[n,2]", "%y = RegexFullMatch %x { pattern = \"a\" }", "bool[n,2]");
#ifdef GI_HAVE_PCRE2
    evaluates(match("a*b"), "3: 1 1 0");
    evaluates(match("(?P<all>a|b)*"), "3: 1 1 1");
    evaluates(match(""), "3: 0 0 1");
    eval_refuses(match("(a"), "no regular expression");
    eval_refuses(match("[a"), "no regular expression");
    eval_refuses(match("(a)\\\\1"), "a reference back to a group");
    eval_refuses(match("(?=a).*"), "looks around");
    eval_refuses(match("(?<!a).*"), "looks around");
    eval_refuses(match("(?>a)b"), "looks around");
    eval_refuses(match("(?P=all)"), "looks around");
    eval_refuses(match("a++b"), "keeps what it took");
    eval_refuses(match("a\\\\Kb"), "an escape that is none");
    eval_refuses(match("(*ACCEPT)a"), "a verb");
    eval_refuses(match("a\\\\"), "at its end");
#else
    gopt_graph *g = parse("", match("a"));
    gopt_tensor *y = NULL;
    assert_int_equal(gi_eval_graph(g, NULL, &y), GOPT_UNSUPPORTED);
    assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "without PCRE2"));
    gopt_diag_clear(cx);
    gopt_graph_destroy(g);
#endif
}

static void tokens(void **state)
{
    (void)state;
    infers("%x: string[n]",
           "%y = com.microsoft::Tokenizer %x { mark = 0, mincharnum = 1, pad_value = \"#\", tokenexp = \"a\" }",
           "string[n,?1]");
#ifdef GI_HAVE_PCRE2
    eval_refuses(
        "%y = com.microsoft::Tokenizer dense<string[1], [\"a\"]> { mark = 0, mincharnum = 1, pad_value = \"#\" }",
        "one of the attributes separators and tokenexp");
    eval_refuses(
        "%y = com.microsoft::Tokenizer dense<string[1], [\"a\"]> { mark = 0, mincharnum = 1, pad_value = \"#\", "
        "separators = [\" \", \"(\"] }",
        "attribute separators is '('");
    /* What matches nothing separates nothing, and does not go on for ever. */
    evaluates(
        "%t = com.microsoft::Tokenizer dense<string[1], [\"abc\"]> { mark = 0, mincharnum = 1, pad_value = \"#\", "
        "separators = [\"x*\"] }\n%y = Equal %t, dense<string[], [\"abc\"]>",
        "1x1: 1");
#endif
}

static const char *count(const char *attrs)
{
    static char body[512];
    snprintf(
        body, sizeof body,
        "%%y = TfIdfVectorizer dense<i64[4], [1,2,1,2]> { mode = \"TF\", min_gram_length = 1, max_gram_length = 2, "
        "max_skip_count = %s }",
        attrs);
    return body;
}

static void counts(void **state)
{
    (void)state;
    infers("%x: i64[n,9]",
           "%y = TfIdfVectorizer %x { mode = \"TF\", min_gram_length = 1, max_gram_length = 1, max_skip_count = 0, "
           "ngram_counts = [0], ngram_indexes = [4], pool_int64s = [7] }",
           "f32[n,5]");
    evaluates(count("0, ngram_counts = [0,2], ngram_indexes = [0,1,2], pool_int64s = [1,2,1,2]"), "3: 2 2 2");
    evaluates(count("9223372036854775807, ngram_counts = [0,2], ngram_indexes = [0,1,2], pool_int64s = [1,2,1,2]"),
              "3: 2 2 3");
    eval_refuses(count("0, ngram_counts = [0,9], ngram_indexes = [0,1,2], pool_int64s = [1,2,1,2]"), "in a pool of 4");
    eval_refuses(count("0, ngram_counts = [0,3], ngram_indexes = [0,1,2,3], pool_int64s = [1,2,1,2]"), "whole number");
    eval_refuses(count("0, ngram_counts = [0,2], ngram_indexes = [0,1], pool_int64s = [1,2,1,2]"), "more n-grams");
    eval_refuses(count("0, ngram_counts = [0,2], ngram_indexes = [0,1,-2], pool_int64s = [1,2,1,2]"), "holds -2");
    eval_refuses(count("-1, ngram_counts = [0,2], ngram_indexes = [0,1,2], pool_int64s = [1,2,1,2]"), "-1 skipped");
    eval_refuses(count("0, ngram_counts = [0,2], ngram_indexes = [0,1,2], pool_strings = [\"a\",\"b\"]"),
                 "the pool holds strings");
    eval_refuses(count("0, ngram_counts = [0,2], ngram_indexes = [0,1,2]"), "one of the attributes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits),  cmocka_unit_test(joins),  cmocka_unit_test(normalizes),
        cmocka_unit_test(matches), cmocka_unit_test(counts), cmocka_unit_test(tokens),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
