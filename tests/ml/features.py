"""Cases of ai.onnx.ml's operators that prepare features, encode labels and work on maps."""
from onnx import TensorProto, helper

from cases import case, f32, np, text

NAN = float("nan")


def map_type(key, value):
    return helper.make_map_type_proto(key, helper.make_tensor_type_proto(value, []))


def preparation():
    x = f32(4, 3)
    x64, i64, i32 = x.astype(np.float64), (x * 5).astype(np.int64), (x * 5).astype(np.int32)
    for name, y in (("one", [1]), ("some", [2, 0, 0]), ("row", [[1, 2]])):
        for kind, data in (("f32", x), ("f64", x64), ("i64", i64), ("i32", i32), ("vector", x[0]),
                           ("rank_3", f32(2, 2, 3)), ("strings", text("a", "é", "c", "d", "", "f").reshape(2, 3))):
            case(f"extract_{name}_{kind}", "ArrayFeatureExtractor", [data, np.array(y, np.int64)])
    case("binarizer", "Binarizer", [x], threshold=0.25)
    case("binarizer_default", "Binarizer", [np.array([-1, 0, 1], np.float32)])
    case("features", "FeatureVectorizer", [x, f32(4, 2)], inputdimensions=[3, 2])
    case("features_i64", "FeatureVectorizer", [i64, i64[:, :2]], inputdimensions=[3, 2])
    case("features_f64", "FeatureVectorizer", [x64], inputdimensions=[3])
    case("features_filled", "FeatureVectorizer", [x, f32(4, 2)], inputdimensions=[5, 2])
    case("features_cut", "FeatureVectorizer", [x, f32(4, 2)], inputdimensions=[1, 2])
    holes = x.copy()
    holes[0, 1] = holes[2, 2] = NAN
    case("imputer_nan", "Imputer", [holes], imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=NAN)
    case("imputer_nan_one", "Imputer", [holes], imputed_value_floats=[7.0], replaced_value_float=NAN)
    case("imputer_value", "Imputer", [np.array([[1, 2], [2, -1]], np.float32)], imputed_value_floats=[7.0, 8.0],
         replaced_value_float=2.0)
    case("imputer_i64", "Imputer", [np.array([[1, 2], [2, -1]], np.int64)], imputed_value_int64s=[7, 8],
         replaced_value_int64=2)
    zero = np.array([[0, 0, 0], [1, -2, 0.5], [-1, -2, -4]], np.float32)
    for norm in ("MAX", "L1", "L2"):
        for kind, data in (("f32", zero), ("f64", zero.astype(np.float64)), ("i64", zero.astype(np.int64)),
                           ("i32", zero.astype(np.int32)), ("vector", zero[1])):
            case(f"normalizer_{norm}_{kind}", "Normalizer", [data], norm=norm)
    for kind, data in (("f32", x), ("f64", x64), ("i64", i64), ("i32", i32)):
        case(f"scaler_{kind}", "Scaler", [data], offset=[1.0, 2.0, 3.0], scale=[0.5, 2.0, -1.0])
    case("scaler_one", "Scaler", [x], offset=[1.0], scale=[0.5])
    for zeros in (0, 1):
        case(f"one_hot_i64_{zeros}", "OneHotEncoder", [np.array([[1, 7], [3, 1]], np.int64)], cats_int64s=[1, 3, 7],
             zeros=zeros)
    case("one_hot_unknown", "OneHotEncoder", [np.array([1, 8], np.int64)], cats_int64s=[1, 3, 7])
    case("one_hot_f32", "OneHotEncoder", [np.array([[1.0, 7.0]], np.float32)], cats_int64s=[1, 3, 7])
    case("one_hot_f64", "OneHotEncoder", [np.array([[1.0, 7.0]], np.float64)], cats_int64s=[1, 3, 7])
    case("one_hot_strings", "OneHotEncoder", [text("a", "é", "x").reshape(3, 1)], cats_strings=["é", "a"])


def labels():
    words, ints, floats = text("b", "a", "?", "é"), np.array([3, 1, 9], np.int64), np.array([1.5, 4, 3, -0.0], np.float32)
    case("encoder_1_strings", "LabelEncoder", [words], version=1, classes_strings=["a", "b", "é"])
    case("encoder_1_ints", "LabelEncoder", [np.array([2, 0, 7], np.int64)], version=1, classes_strings=["a", "b", "é"],
         default_string="none")
    keys = {"string": (words, dict(keys_strings=["a", "b", "é"])), "int64": (ints, dict(keys_int64s=[1, 2, 3])),
            "float": (floats, dict(keys_floats=[1.5, 0.0, 4.0]))}
    values = {"string": dict(values_strings=["x", "y", "é"]), "int64": dict(values_int64s=[10, -20, 30]),
              "float": dict(values_floats=[0.5, -1.5, 2.5])}
    defaults = {"string": dict(default_string="none"), "int64": dict(default_int64=99), "float": dict(default_float=9.5)}
    for k, (x, key) in keys.items():
        for v, value in values.items():
            if k == v == "int64" or (k, v) == ("string", "string") or k != v or v == "float":
                case(f"encoder_2_{k}_{v}", "LabelEncoder", [x], version=2, **key, **value)
                case(f"encoder_2_{k}_{v}_default", "LabelEncoder", [x], version=2, **key, **value, **defaults[v])
    case("encoder_empty", "LabelEncoder", [text("", "a")], version=2, keys_strings=["a", ""], values_strings=["", "x"])
    def tensor(kind, x):
        return helper.make_tensor("t", kind, [len(x)], x)
    case("encoder_4_doubles", "LabelEncoder", [np.array([1.5, NAN, 3, -0.0])], version=4,
         keys_tensor=tensor(TensorProto.DOUBLE, [1.5, NAN, 0.0]), values_tensor=tensor(TensorProto.DOUBLE, [1.0, 2.0, 3.0]),
         default_tensor=tensor(TensorProto.DOUBLE, [7.0]))
    case("encoder_4_strings", "LabelEncoder", [words], version=4, keys_tensor=tensor(TensorProto.STRING, [b"a", b"b"]),
         values_tensor=tensor(TensorProto.INT16, [4, 5]), default_tensor=tensor(TensorProto.INT16, [-3]))
    case("mapper_strings", "CategoryMapper", [words], cats_int64s=[1, 3, 9], cats_strings=["a", "b", "é"])
    case("mapper_strings_default", "CategoryMapper", [words], cats_int64s=[1, 3, 9], cats_strings=["a", "b", "é"],
         default_int64=7)
    case("mapper_ints", "CategoryMapper", [ints], cats_int64s=[1, 3, 5], cats_strings=["a", "b", "é"])
    case("mapper_ints_default", "CategoryMapper", [ints], cats_int64s=[1, 3, 5], cats_strings=["a", "b", "é"],
         default_string="none")


def maps():
    numbers = {7: 0.5, 2: -1.25, 5: 3.75}
    of_float = {"i0": map_type(TensorProto.INT64, TensorProto.FLOAT)}
    for to in ("TO_FLOAT", "TO_INT64", "TO_STRING"):
        for form, size in (("DENSE", 1), ("SPARSE", 9)):
            case(f"cast_map_{to}_{form}", "CastMap", [numbers], types=of_float, cast_to=to, map_form=form, max_map=size)
    case("dict_strings", "DictVectorizer", [{"b": 4.0, "é": 8.0}], string_vocabulary=["a", "é", "b"],
         types={"i0": map_type(TensorProto.STRING, TensorProto.FLOAT)})
    case("dict_ints", "DictVectorizer", [{3: 4.0, 1: 8.0}], int64_vocabulary=[1, 2, 3], types=of_float)
    case("dict_unknown", "DictVectorizer", [{3: 4.0, 9: 8.0}], int64_vocabulary=[1, 2, 3], types=of_float)
    for name, labels in (("ints", dict(classlabels_int64s=[3, 1, 2])), ("strings", dict(classlabels_strings=["a", "é", "c"]))):
        case(f"zip_map_{name}", "ZipMap", [f32(4, 3)], **labels)
        case(f"zip_map_{name}_vector", "ZipMap", [f32(3)], **labels)


def all_cases():
    preparation()
    labels()
    maps()
