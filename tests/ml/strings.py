"""Cases of the operators on strings."""
from cases import case, np, text


def strings(name, op, inputs, outputs=1, **attributes):
    # ONNX Runtime finds no piece in an empty string, splits at the blank alone of all white space, and cuts what is
    # behind the last piece; ONNX's reference does not.
    case(name, op, inputs, outputs, domain="", reference=op == "StringSplit", **attributes)


def regexes():
    words = text("", "a", "ab", "aab", "aaab", "x\ny", "é", "éé", "Straße", " \t", "\x0b", "a.b", "foo_1", "FOO", "1a",
                 "[x]", "a-b", "日本語", "ab\n", "2024-01-31", "a\\b", "\x01", "S")
    patterns = [r"a*b", r"(a+)+b", r".", r".*", r"(?s).*", r"(?i)foo", r"\w+", r"\d{4}-\d\d-\d\d", r"é+", r"\p{L}+",
                r"\pL*", r"\p{Han}+", r"[^a]*", r"\s+", r"[\s]+", r"\S+", r"[\S]*", r"\v", r"a|ab|aab", r"^ab$",
                r"(?m)^ab$", r"\Aab\z", r"ab\b", r"[[:alpha:]]+", r"[[:^alpha:]]+", r"\Qa.b\E", r"(?P<x>a)b", r"(?:a|b)*?",
                r"[\[\]x]+", r"[]x[]+", r"\[x]", r"a\\b", r"\x61b", r"\x{e9}", r"\01", r"\141b", r"a{2,3}b", r"a{,3}b", r"",
                r"(|a)+", r"(a?){0,30}b", r"(?U)a+b", r"[a-]+b?", r"\PL+", r"(?i:F)OO", r"(?i)straSSe", r"(?i)ſ|s"]
    for i, p in enumerate(patterns):
        strings(f"regex_{i}", "RegexFullMatch", [words], pattern=p)
    # A matcher that goes back would not live to see the end of it.
    strings("regex_patient", "RegexFullMatch", [text("a" * 40000, "a" * 39999 + "b")], pattern=r"(a|aa|a*)*b")
    strings("regex_shape", "RegexFullMatch", [text("a", "b", "c", "a").reshape(2, 1, 2)], pattern="[ab]")


def splits():
    words = text("", " ", "a", "a b", "  a  b  c ", "a,b,c", ",", ",,a", "a,", "a--b--", "---", "\ta\nb\r\x0bc", "é,日,x y",
                 "a\u00a0b\u2003c", "a\x1cb\u3000 c", "a\u200bb")
    for d in (None, "", ",", "--", "é", " ", "abc"):
        for most in (None, 0, 1, 2):
            attributes = {k: v for k, v in (("delimiter", d), ("maxsplit", most)) if v is not None}
            strings(f"split_{'none' if d is None else d.encode().hex()}_{most}", "StringSplit", [words], 2, **attributes)
    strings("split_shape", "StringSplit", [text("a b", "c", "d e f", "").reshape(2, 2)], 2)
    strings("split_scalar", "StringSplit", [np.array("a b", object)], 2)
    strings("split_nothing", "StringSplit", [np.zeros((2, 0), object)], 2)


def joins():
    strings("concat", "StringConcat", [text("a", "", "é"), text("b", "", "日本")])
    strings("concat_broadcast", "StringConcat", [text("a", "b").reshape(2, 1), text("x", "y", "z")])
    strings("concat_scalar", "StringConcat", [np.array("a", object), text("x", "y", "z")])


def normalizers():
    words = text("Monday", "tuesday", "WEDNESDAY", "monday", "thursday", "ÉTÉ", "été", "Straße", "ДОМ", "日本")
    for sensitive in (0, 1):
        for action in ("NONE", "LOWER", "UPPER"):
            for i, stop in enumerate((None, ["monday", "été"], ["MONDAY", "дом"], ["Monday"])):
                more = {"stopwords": stop} if stop else {}
                for shape in ((-1,), (1, -1)):
                    strings(f"normalizer_{sensitive}_{action}_{i}_{len(shape)}", "StringNormalizer", [words.reshape(shape)],
                            case_change_action=action, is_case_sensitive=sensitive, locale="C.UTF-8", **more)
    strings("normalizer_all", "StringNormalizer", [text("a", "A")], stopwords=["a"], is_case_sensitive=0,
            locale="C.UTF-8")
    strings("normalizer_all_2", "StringNormalizer", [text("a", "a").reshape(1, 2)], stopwords=["a"], locale="C.UTF-8")


def vectorizers():
    rows = np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]], np.int64)
    pool = dict(ngram_counts=[0, 4], ngram_indexes=[0, 1, 2, 3, 4, 5, 6], pool_int64s=[2, 3, 5, 4, 5, 6, 7, 8, 6, 7])
    shuffled = dict(pool, ngram_indexes=[3, 6, 0, 2, 5, 1, 4])
    weights = [1.5, 2.0, 0.5, 3.0, 0.25, 4.0, 7.0]
    for mode in ("TF", "IDF", "TFIDF"):
        for least, most in ((1, 1), (1, 2), (2, 2)):
            for skip in (0, 1, 5):
                for how, p in (("", pool), ("shuffled_", shuffled)):
                    strings(f"tfidf_{mode}_{least}_{most}_{skip}_{how}int", "TfIdfVectorizer", [rows], mode=mode,
                            min_gram_length=least, max_gram_length=most, max_skip_count=skip, weights=weights, **p)
    pool = dict(pool, ngram_counts=[0, 4, 10])
    plain = dict(mode="TF", min_gram_length=1, max_gram_length=3, max_skip_count=2)
    strings("tfidf_one_row", "TfIdfVectorizer", [rows[0]], **plain, **pool)
    strings("tfidf_int32", "TfIdfVectorizer", [rows.astype(np.int32)], **plain, **pool)
    strings("tfidf_no_weights", "TfIdfVectorizer", [rows], **dict(plain, mode="IDF"), **pool)
    strings("tfidf_nothing", "TfIdfVectorizer", [np.zeros((2, 0), np.int64)], **plain, **pool)
    words = dict(ngram_counts=[0, 3, 7], ngram_indexes=[2, 0, 4, 1, 3, 5],
                 pool_strings=["a", "é", "c", "a", "é", "c", "a", "a", "é", "c"])
    line = text("a", "é", "c", "x", "a", "c", "é", "c").reshape(2, 4)
    for skip in (0, 1, 3):
        strings(f"tfidf_words_{skip}", "TfIdfVectorizer", [line], **dict(plain, max_skip_count=skip), **words)
    for mode in ("TF", "TFIDF"):
        strings(f"tfidf_shared_{mode}", "TfIdfVectorizer", [line], **dict(plain, mode=mode),
                **dict(words, ngram_indexes=[2, 0, 2, 1, 0, 0], weights=[0.5, 3, 2, 4, 5, 7]))
    strings("tfidf_gap", "TfIdfVectorizer", [line], **plain, **dict(words, ngram_indexes=[2, 0, 9, 1, 3, 5]))


def tokenizers():
    words = text("a quick,brown fox", "été à Zürich", "x", "", "a,b;c  d", "一二 三")
    plain = dict(mark=0, mincharnum=1, pad_value="#")

    def one(name, x, **attributes):
        case(f"tokenizer_{name}", "Tokenizer", [x], domain="com.microsoft", **dict(plain, **attributes))

    one("words", words, tokenexp="[a-zA-Z0-9_]+")
    one("words_min", words, tokenexp=r"\w+", mincharnum=2)
    one("words_utf8", words, tokenexp=r"\pL+")
    one("words_mark", words, tokenexp=r"\pL+", mark=1)
    one("longest", words, tokenexp=r"q|qu|quick|b")
    one("columns", words.reshape(2, 3), tokenexp="[a-z]+")
    one("separators", words, separators=[" "])
    one("separators_two", words, separators=[",", "[ ;]+"])
    one("separators_min", words, separators=[" "], mincharnum=3)
    one("separators_mark", words, separators=[" "], mark=1)
    one("letters", words, separators=[""])
    one("nothing", text("", ""), tokenexp="a")


def all_cases():
    tokenizers()
    regexes()
    splits()
    joins()
    normalizers()
    vectorizers()
