from switchyard.charts import style


def test_every_configuration_looks_different(made_up):
    looks = style.configurations(made_up())[["colour", "edge", "shape"]]
    assert not looks.duplicated().any()


def test_a_configuration_looks_the_same_in_every_table(made_up):
    tables = made_up()
    frames = [
        style.styled(tables, frame, "dataset")
        for frame in (tables.results, tables.layers, tables.differences)
    ]
    for frame in frames:
        looks = frame.groupby("config_name")[["colour", "edge", "shape"]].nunique()
        assert (looks == 1).all(axis=None)
    first, *others = [
        frame.drop_duplicates("config_name").set_index("config_name")["colour"] for frame in frames
    ]
    assert all(first[name] == colour for other in others for name, colour in other.items())


def test_darker_means_larger_alpha(made_up):
    configs = style.configurations(made_up())
    family = configs[(~configs["static"]) & (configs["k_or_max_k"] == 8)].sort_values("alpha")
    brightness = [
        sum(int(colour[place : place + 2], 16) for place in (1, 3, 5)) for colour in family["colour"]
    ]
    assert brightness == sorted(brightness, reverse=True)


def test_one_alpha_has_the_full_colour(made_up):
    configs = style.configurations(made_up(caps=(8,), alphas=(0.3,)))
    adaptive = configs[~configs["static"]].iloc[0]
    assert adaptive["colour"].lower() == adaptive["edge"].lower()


def test_tint():
    assert style.tint("#0072b2", 0) == "#0072b2"
    assert style.tint("#0072b2", 1) == "#ffffff"
