"""Cases of ai.onnx.ml's models: linear ones, support vectors and trees, their attributes drawn at random."""
from onnx import TensorProto, helper

from cases import case, f32, np

POSTS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
NAN = float("nan")


def numbers(*shape, seed=0, scale=1.0):
    return f32(*shape, seed=seed, scale=scale).ravel().tolist()


def names(n, kind, ints="classlabels_ints"):
    return {ints: list(range(5, 5 + n))} if kind == "ints" else {"classlabels_strings": ["a", "é", "c", "d"][:n]}


def kinds(x):
    return ("f32", x), ("f64", x.astype(np.float64)), ("i64", (x * 4).astype(np.int64)), ("i32", (x * 4).astype(np.int32))


def linear():
    x = f32(6, 3)
    case("linear", "LinearRegressor", [x], coefficients=numbers(2, 3), intercepts=[0.5, -1.0], targets=2)
    for post in POSTS:
        for targets in (1, 3):
            # Of a probability, since probit is of one.
            case(f"linear_{post}_{targets}", "LinearRegressor", [x / 40], coefficients=numbers(targets, 3),
                 intercepts=[0.3, 0.2, 0.8][:targets], targets=targets, post_transform=post)
    case("linear_no_intercepts", "LinearRegressor", [x], coefficients=numbers(3))
    case("linear_vector", "LinearRegressor", [x[0]], coefficients=numbers(3), intercepts=[1.0])
    for labels in ("ints", "strings"):
        for post in POSTS:
            for n, models in ((2, 1), (2, 2), (3, 3)):
                if post == "PROBIT" and models == 1:
                    continue  # ONNX Runtime gives a second column that it never wrote
                case(f"linear_classes_{labels}_{post}_{n}_{models}", "LinearClassifier", [x / 40], 2,
                     coefficients=numbers(models, 3), intercepts=[0.3, 0.2, 0.8][:models] if models > 1 else [0.01],
                     post_transform=post, **names(n, labels))
    for kind, data in kinds(x):
        case(f"linear_classes_{kind}", "LinearClassifier", [data], 2, coefficients=numbers(3, 3),
             intercepts=[0.1, 0.2, 0.3], multi_class=1, **names(3, "ints"))


def vectors():
    x = f32(6, 3)
    params = [0.4, 0.3, 2.0]
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        for one in (0, 1):
            case(f"svr_{kernel}_{one}", "SVMRegressor", [x], kernel_type=kernel, kernel_params=params, n_supports=4,
                 support_vectors=numbers(4, 3), coefficients=numbers(4, seed=1), rho=[0.25], one_class=one)
    case("svr_linear", "SVMRegressor", [x], coefficients=numbers(3), rho=[0.5], kernel_params=params)
    for n, per_class in ((2, [2, 3]), (3, [2, 1, 2]), (4, [2, 1, 2, 1])):
        total, pairs = sum(per_class), n * (n - 1) // 2
        for labels in ("ints", "strings"):
            for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
                case(f"svc_{n}_{labels}_{kernel}", "SVMClassifier", [x], 2, kernel_type=kernel, kernel_params=params,
                     support_vectors=numbers(total, 3), coefficients=numbers(n - 1, total), vectors_per_class=per_class,
                     rho=numbers(pairs, seed=4, scale=0.1), **names(n, labels))
            chances = dict(prob_a=[-x for x in numbers(pairs, seed=8)], prob_b=numbers(pairs, seed=9))
            for post in POSTS:
                model = dict(kernel_type="RBF", kernel_params=params, support_vectors=numbers(total, 3),
                             coefficients=numbers(n - 1, total), vectors_per_class=per_class,
                             rho=numbers(pairs, seed=4, scale=0.1), post_transform=post, **names(n, labels))
                if post != "PROBIT":  # of scores that are no probabilities
                    case(f"svc_{n}_{labels}_{post}", "SVMClassifier", [x], 2, **model)
                case(f"svc_{n}_{labels}_{post}_chances", "SVMClassifier", [x], 2, **model, **chances)
        # Of two classes ONNX Runtime takes the second as soon as one has a positive score.
        case(f"svc_{n}_linear", "SVMClassifier", [x], 2, reference=n == 2, coefficients=numbers(n, 3), rho=[0.25], kernel_params=params,
             **names(n, "ints"))
        case(f"svc_{n}_positive", "SVMClassifier", [x], 2, coefficients=[abs(v) for v in numbers(n, 3)], rho=[0.25],
             kernel_params=params, **names(n, "ints"))
        case(f"svc_{n}_all_positive", "SVMClassifier", [x], 2, kernel_type="RBF", kernel_params=params,
             support_vectors=numbers(total, 3), coefficients=[abs(v) for v in numbers(n - 1, total)],
             vectors_per_class=per_class, rho=numbers(pairs, seed=4, scale=0.1), **names(n, "ints"))
    for kind, data in kinds(x):
        case(f"svc_{kind}", "SVMClassifier", [data], 2, kernel_type="LINEAR", kernel_params=params,
             support_vectors=numbers(5, 3), coefficients=numbers(2, 5), vectors_per_class=[2, 1, 2],
             rho=numbers(3, seed=4, scale=0.1), **names(3, "ints"))


MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def forest(rng, trees, depth, features, targets, modes=MODES, whole=False, every_leaf=True, positive=False, ids=None):
    """Random trees as the attributes of both named operators: nodes, and votes (targets, nodes, trees, weights)."""
    n = dict(treeids=[], nodeids=[], featureids=[], modes=[], values=[], truenodeids=[], falsenodeids=[],
             missing_value_tracks_true=[])
    votes = dict(ids=[], nodeids=[], treeids=[], weights=[])
    for tree in range(trees):
        count = 0

        def add(level):
            nonlocal count
            me = count
            count += 1
            leaf = level == depth or (level > 0 and rng.random() < 0.2)
            at = len(n["treeids"])
            value = float(rng.integers(-2, 3)) if whole else float(np.float32(rng.normal()))
            row = dict(treeids=tree, nodeids=me, featureids=int(rng.integers(features)) if not leaf else 0,
                       modes="LEAF" if leaf else str(rng.choice(modes)), values=0.0 if leaf else value, truenodeids=0,
                       falsenodeids=0, missing_value_tracks_true=int(rng.integers(2)) if not leaf else 0)
            for k, v in row.items():
                n[k].append(v)
            if leaf:
                for t in (range(targets) if every_leaf else [int(rng.integers(targets))]) if ids is None else ids:
                    weight = float(np.float32(0.05 + 0.4 * rng.random() if positive else rng.normal()))
                    for k, v in dict(ids=t, nodeids=me, treeids=tree, weights=weight).items():
                        votes[k].append(v)
            else:
                n["truenodeids"][at] = add(level + 1)
                n["falsenodeids"][at] = add(level + 1)
            return me

        add(0)
    return {f"nodes_{k}": v for k, v in n.items()}, votes


def voted(votes, prefix):
    return {f"{prefix}_{k}": v for k, v in votes.items()}


def doubled(attributes, *lists):
    """Those lists as tensors of doubles."""
    out = dict(attributes)
    for k in lists:
        values = out.pop(k)
        out[f"{k}_as_tensor"] = helper.make_tensor(k, TensorProto.DOUBLE, [len(values)], values)
    return out


def trees():
    rng = np.random.default_rng(21)
    x = np.round(f32(9, 4) * 2) / 2
    holes = x.copy()
    holes[rng.random(holes.shape) < 0.3] = NAN

    def regress(name, data, model, **attributes):
        nodes, votes = model
        case(f"trees_{name}", "TreeEnsembleRegressor", [data], **nodes, **voted(votes, "target"), **attributes)

    for how in ("SUM", "AVERAGE", "MIN", "MAX"):
        for targets in (1, 3):
            for every in (True, False):
                for base in (0, 1):
                    more = {"base_values": numbers(targets, seed=2)} if base else {}
                    if base and not every and how in ("MIN", "MAX"):
                        continue  # the least of nothing
                    # ONNX Runtime adds no base value where no leaf votes.
                    more["reference"] = bool(base and not every)
                    regress(f"{how}_{targets}_{every}_{base}", x,
                            forest(rng, 5, 3, 4, targets, every_leaf=every, whole=True), n_targets=targets,
                            aggregate_function=how, **more)
    for mode in MODES:
        regress(f"mode_{mode}", x, forest(rng, 3, 3, 4, 1, (mode,), whole=True), n_targets=1)
        regress(f"missing_{mode}", holes, forest(rng, 3, 3, 4, 1, (mode,), whole=True), n_targets=1)
    regress("missing", holes, forest(rng, 4, 4, 4, 2, whole=True), n_targets=2)
    for post in POSTS:
        for targets in (1, 3):
            regress(f"post_{post}_{targets}", x, forest(rng, 2, 2, 4, targets, positive=True), n_targets=targets,
                    aggregate_function="AVERAGE", post_transform=post)
    for kind, data in kinds(x)[:2]:
        regress(kind, data, forest(rng, 3, 3, 4, 2, whole=True), n_targets=2)
    regress("one_leaf", x, forest(rng, 2, 0, 4, 1), n_targets=1)
    nodes, votes = forest(rng, 3, 3, 4, 2)
    case("trees_doubles", "TreeEnsembleRegressor", [x.astype(np.float64)], n_targets=2,
         **doubled({**nodes, **voted(votes, "target"), "base_values": [0.1, 0.2]}, "nodes_values", "target_weights",
                   "base_values"))
    plain, votes = forest(rng, 2, 2, 4, 1)
    del plain["nodes_missing_value_tracks_true"]
    case("trees_version_1", "TreeEnsembleRegressor", [x], version=1, n_targets=1, **plain, **voted(votes, "target"))

    def classify(name, data, n, model, labels="ints", **attributes):
        nodes, votes = model
        case(f"tree_classes_{name}", "TreeEnsembleClassifier", [data], 2, **nodes, **voted(votes, "class"),
             **names(n, labels, "classlabels_int64s"), **attributes)

    for labels in ("ints", "strings"):
        for post in POSTS:
            for n in (2, 3, 4):
                for positive in (True, False):
                    if post == "PROBIT" and not positive:
                        continue
                    for every in (True, False):
                        for base in (0, n):
                            more = {"base_values": numbers(n, seed=2, scale=0.1)} if base else {}
                            if n == 2 and not every:
                                continue  # below
                            trees = 1 if post == "PROBIT" else 4
                            # Where both have votes, ONNX Runtime takes the second class if its score is positive.
                            more["reference"] = n == 2
                            classify(f"{labels}_{post}_{n}_{positive}_{every}_{base}", x, n,
                                     forest(rng, trees, 3, 4, n, whole=True, every_leaf=every, positive=positive),
                                     labels, post_transform=post, **more)
    for post in POSTS:
        for positive in (True, False):
            for ids in ([0], [1]):
                for base in (0, 1):
                    if post == "PROBIT" or (base and ids == [1]):
                        continue
                    more = {"base_values": [0.125] * base} if base else {}
                    classify(f"two_{post}_{positive}_{ids[0]}_{base}", x, 2,
                             forest(rng, 3, 3, 4, 2, whole=True, positive=positive, ids=ids), post_transform=post, **more)
    for kind, data in kinds(x):
        classify(kind, data, 3, forest(rng, 3, 3, 4, 3, whole=True))
    classify("missing", holes, 3, forest(rng, 3, 3, 4, 3, whole=True))
    nodes, votes = forest(rng, 3, 3, 4, 3)
    case("tree_classes_doubles", "TreeEnsembleClassifier", [x.astype(np.float64)], 2, classlabels_int64s=[3, 1, 2],
         **doubled({**nodes, **voted(votes, "class"), "base_values": [0.1, 0.2, 0.3]}, "nodes_values", "class_weights",
                   "base_values"))


def modern():
    """TreeEnsemble, whose nodes and leaves go by position."""
    rng = np.random.default_rng(5)
    x = np.round(f32(9, 4) * 2) / 2
    holes = x.copy()
    holes[rng.random(holes.shape) < 0.3] = NAN

    def one(name, data, depth=3, trees=4, targets=2, modes=range(6), reference=False, kind=TensorProto.FLOAT, **attributes):
        nodes, leaves, members, roots = [], [], [], []

        def add(level):
            """A branch: its position, and whether it is a leaf."""
            if level == depth or (level and rng.random() < 0.2):
                leaves.append((float(np.float32(rng.random())), int(rng.integers(targets))))
                return len(leaves) - 1, 1
            at = len(nodes)
            mode = int(rng.choice(list(modes)))
            nodes.append(dict(featureids=int(rng.integers(4)), modes=mode, splits=float(rng.integers(-2, 3)),
                              missing_value_tracks_true=int(rng.integers(2))))
            if mode == 6:
                members.extend([*rng.integers(1, 5, 2).astype(float).tolist(), NAN])
            for branch in ("true", "false"):
                to, leaf = add(level + 1)
                nodes[at][f"{branch}nodeids"], nodes[at][f"{branch}leafs"] = to, leaf
            return at, 0

        for _ in range(trees):
            roots.append(add(0)[0])
        lists = {f"nodes_{k}": [n[k] for n in nodes] for k in nodes[0]}
        floats = lambda key, v: {key: helper.make_tensor(key, kind, [len(v)], v)}
        lists["nodes_modes"] = helper.make_tensor("modes", TensorProto.UINT8, [len(nodes)], lists["nodes_modes"])
        lists.update(floats("nodes_splits", lists["nodes_splits"]))
        lists.update(floats("leaf_weights", [w for w, _ in leaves]))
        if members:
            lists.update(floats("membership_values", members))
        case(f"ensemble_{name}", "TreeEnsemble", [data], version=5, reference=reference, tree_roots=roots,
             n_targets=targets, leaf_targetids=[t for _, t in leaves], **lists, **attributes)

    for how in range(4):
        one(f"aggregate_{how}", x, aggregate_function=how, targets=1)
        one(f"aggregate_{how}_reference", x, aggregate_function=how, targets=1, reference=True)
    for mode in range(7):
        if mode == 6:
            x = np.abs(x * 2)
            holes = np.abs(holes * 2)
        one(f"mode_{mode}", x, modes=[mode])
        one(f"missing_{mode}", holes, modes=[mode])
        one(f"mode_{mode}_reference", holes, modes=[mode], reference=True)
    one("members", x, modes=[6, 6, 1, 4], depth=4)
    for post in range(5):
        for targets in (1, 3):
            if targets == 3 and post in (1, 2):
                continue  # ONNX Runtime numbers SOFTMAX and LOGISTIC the other way round
            one(f"post_{post}_{targets}", x, trees=1 if post == 4 else 3, post_transform=post, targets=targets)
    one("doubles", x.astype(np.float64), kind=TensorProto.DOUBLE)
    one("halves_reference", x.astype(np.float16), kind=TensorProto.FLOAT16, reference=True)


def all_cases():
    linear()
    vectors()
    trees()
    modern()
