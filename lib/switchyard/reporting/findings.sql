-- What the report says, as one wide view: `findings`, a row per model, role, set, configuration and experiment.
--
-- Sources: the aggregate tables, each a view of its file's name with `model` as first column and `row` as last.
-- An adaptive rule chooses the number of experts of each token by looking at it. Static top-k does not, and neither
-- do the controls, which draw it. The meaning of every column stands at the end.

CREATE VIEW thresholds AS
SELECT getvariable('significance') AS significance, 0.95 AS interval_level, 0.5 AS mostly,
    1 - interval_level AS miss_level, 0.6 AS formula_experts, 0.4 AS formula_rest;

CREATE MACRO answer(comparisons, better, worse) AS
CASE WHEN comparisons = 0 THEN 'not compared' WHEN better > 0 AND worse > 0 THEN 'mixed'
    WHEN worse > 0 THEN 'worse' WHEN better > 0 THEN 'better' ELSE 'not distinguishable' END;

-- Who plays which part. The order of all tables: static rules by their k, then the study's order.
CREATE VIEW roles AS
WITH named AS (
    SELECT model, config_name, set_name, label, routing_type, k_or_max_k, alpha, target_k, matched, row,
        min(row) OVER (PARTITION BY model) AS model_order,
        CASE WHEN routing_type = 'topk' THEN 'static'
            WHEN routing_type IN ('mixed_topk', 'random_count') THEN 'control' ELSE 'adaptive' END AS role
    FROM configurations
)
SELECT * EXCLUDE (row), row_number()
    OVER (PARTITION BY model ORDER BY role <> 'static', if(role = 'static', k_or_max_k, 0), row) AS config_order
FROM named;

CREATE VIEW trained AS
SELECT model, config_name AS trained, label AS trained_label, k_or_max_k AS trained_top_k
FROM roles SEMI JOIN (SELECT model, against AS config_name FROM paired_differences) USING (model, config_name);

-- Texts, which have no accuracy, come first.
CREATE VIEW tasks AS
SELECT model, dataset, bool_or(avg_task_accuracy IS NOT NULL) AS scored,
    row_number() OVER (PARTITION BY model ORDER BY scored, dataset) AS dataset_order
FROM bh_routing_results GROUP BY model, dataset;

-- A configuration's means over datasets and its speed, also beside mixed top-k of the same mean number of experts.
CREATE VIEW wholes AS
SELECT own.model, own.config_name, own.avg_experts AS mean_experts, own.flops_reduction_pct,
    own.flops_reduction_exact_pct, own.tokens_per_second, own.latency_ms_per_token,
    own.tokens_per_second / base.tokens_per_second AS speedup,
    mixed.tokens_per_second AS mixed_tokens_per_second, mixed.latency_ms_per_token AS mixed_latency_ms_per_token,
    own.tokens_per_second / mixed.tokens_per_second AS mixed_speed_ratio, own.floor_hit_rate AS floor_share,
    1 - own.floor_hit_rate - own.ceiling_hit_rate AS between_share, own.ceiling_hit_rate AS ceiling_share
FROM bh_routing_configs AS own LEFT JOIN trained ON trained.model = own.model
    LEFT JOIN bh_routing_configs AS base ON base.model = own.model AND base.config_name = trained.trained
    LEFT JOIN roles AS drawn
        ON drawn.model = own.model AND drawn.matched = own.config_name AND drawn.routing_type = 'mixed_topk'
    LEFT JOIN bh_routing_configs AS mixed ON mixed.model = own.model AND mixed.config_name = drawn.config_name;

-- All about an experiment, beside it the mixed top-k, the trained top-k and the random counts that it is compared with.
CREATE TABLE experiments AS
SELECT roles.*, tasks.* EXCLUDE (model), trained.* EXCLUDE (model), wholes.* EXCLUDE (model, config_name),
    own.avg_experts, own.perplexity, own.avg_task_accuracy AS accuracy, own.avg_experts < trained_top_k AS saves,
    own.perplexity = min(if(roles.matched IS NULL, own.perplexity, NULL)) OVER task AS best_perplexity,
    accuracy = max(if(roles.matched IS NULL, accuracy, NULL)) OVER task AS best_accuracy,
    abs(own.avg_experts - roles.target_k) AS target_gap,
    equal.against_avg_experts, equal.loss_difference, equal.loss_difference_low, equal.loss_difference_high,
    equal.loss_p_holm, equal.loss_verdict, equal.accuracy_difference, equal.accuracy_p_holm, equal.accuracy_verdict,
    abs(own.avg_experts - equal.against_avg_experts) AS budget_gap,
    coalesce(equal.samples, paired.samples) AS samples,
    bool_or(loss_verdict = 'better') OVER config AS any_better, bool_or(loss_verdict = 'worse') OVER config AS any_worse,
    paired.loss_difference AS trained_difference, paired.loss_difference_low AS trained_difference_low,
    paired.loss_difference_high AS trained_difference_high, paired.accuracy_difference AS trained_accuracy_difference,
    CASE WHEN paired.model IS NULL THEN NULL WHEN trained_difference_high < 0 THEN 'better'
        WHEN trained_difference_low > 0 THEN 'worse' ELSE 'undecided' END AS trained_verdict,
    own.avg_loss - random.avg_loss AS random_difference,
    speedup IS NOT NULL AND mean_experts < trained_top_k AND roles.matched IS NULL AS saves_time
FROM bh_routing_results AS own JOIN roles USING (model, config_name) JOIN tasks USING (model, dataset)
    JOIN wholes USING (model, config_name) LEFT JOIN trained USING (model)
    LEFT JOIN equal_compute AS equal USING (model, config_name, dataset)
    LEFT JOIN paired_differences AS paired ON paired.model = own.model AND paired.config_name = own.config_name
        AND paired.dataset = own.dataset AND roles.matched IS NULL
    LEFT JOIN roles AS drawn
        ON drawn.model = own.model AND drawn.matched = own.config_name AND drawn.routing_type = 'random_count'
    LEFT JOIN bh_routing_results AS random
        ON random.model = own.model AND random.config_name = drawn.config_name AND random.dataset = own.dataset
WINDOW task AS (PARTITION BY own.model, own.dataset), config AS (PARTITION BY own.model, own.config_name);

-- The same counts and ranges over models, roles, sets and configurations.
CREATE VIEW counts AS
SELECT model, role, set_name, config_name,
    CASE grouping(role, set_name, config_name) WHEN 0 THEN 'configuration' WHEN 1 THEN 'set' WHEN 3 THEN 'role'
        ELSE 'model' END AS level,
    any_value(model_order) AS model_order, min(config_order) AS config_order,
    any_value(trained) AS trained, any_value(trained_label) AS trained_label,
    count(*) AS experiments, count(DISTINCT dataset) AS datasets, count(DISTINCT config_name) AS configurations,
    count(DISTINCT config_name) FILTER (role = 'static') AS static_rules,
    count(DISTINCT config_name) FILTER (role = 'adaptive') AS adaptive_rules,
    count(DISTINCT config_name) FILTER (role = 'control') AS controls,
    min(samples) AS samples_fewest, max(samples) AS samples_most,
    min(avg_experts) AS experts_lowest, max(avg_experts) AS experts_highest,

    count(DISTINCT config_name) FILTER (loss_verdict IS NOT NULL) AS matched_configurations,
    count(DISTINCT config_name) FILTER (any_better AND NOT any_worse) AS configurations_better,
    count(DISTINCT config_name) FILTER (any_worse AND NOT any_better) AS configurations_worse,
    max(budget_gap) AS budget_gap_largest,
    count(loss_p_holm) AS loss_tests, count(loss_verdict) AS loss_comparisons,
    count(*) FILTER (loss_verdict = 'better') AS loss_better, count(*) FILTER (loss_verdict = 'worse') AS loss_worse,
    loss_comparisons - loss_better - loss_worse AS loss_undecided,
    answer(loss_comparisons, loss_better, loss_worse) AS loss_answer,
    min(loss_difference) AS loss_difference_lowest, max(loss_difference) AS loss_difference_highest,
    min(loss_difference_low) AS loss_interval_lowest, max(loss_difference_high) AS loss_interval_highest,
    count(accuracy_p_holm) AS accuracy_tests, count(accuracy_verdict) AS accuracy_comparisons,
    count(*) FILTER (accuracy_verdict = 'better') AS accuracy_better,
    count(*) FILTER (accuracy_verdict = 'worse') AS accuracy_worse,
    accuracy_comparisons - accuracy_better - accuracy_worse AS accuracy_undecided,
    answer(accuracy_comparisons, accuracy_better, accuracy_worse) AS accuracy_answer,
    min(accuracy_difference) AS accuracy_difference_lowest, max(accuracy_difference) AS accuracy_difference_highest,

    count(trained_verdict) AS trained_comparisons, count(trained_difference_low) AS trained_intervals,
    count(*) FILTER (trained_verdict = 'better') AS trained_better,
    count(*) FILTER (trained_verdict = 'worse') AS trained_worse,
    count(trained_verdict) FILTER (saves) AS saving,
    count(*) FILTER (saves AND trained_verdict = 'better') AS saving_better,
    count(*) FILTER (saves AND trained_verdict = 'worse') AS saving_worse,
    count(*) FILTER (saves AND trained_verdict = 'undecided') AS saving_undecided,
    count(trained_verdict) FILTER (avg_experts > trained_top_k) AS above,
    count(*) FILTER (avg_experts > trained_top_k AND trained_verdict = 'better') AS above_better,
    count(*) FILTER (avg_experts > trained_top_k AND trained_verdict = 'worse') AS above_worse,
    count(*) FILTER (avg_experts > trained_top_k AND trained_verdict = 'undecided') AS above_undecided,
    max(trained_difference) AS trained_cost, max(trained_difference_high) AS trained_allowed,
    coalesce(bool_and(saves) FILTER (trained_verdict IS NOT NULL), false) AS saves_everywhere,

    count(random_difference) AS random_comparisons, count(*) FILTER (random_difference < 0) AS random_lower_loss,
    min(random_difference) AS random_difference_lowest, max(random_difference) AS random_difference_highest,

    count(DISTINCT config_name) FILTER (saves_time) AS timed,
    count(DISTINCT config_name) FILTER (saves_time AND speedup < 1) AS slower_than_trained,
    min(speedup) FILTER (saves_time) AS speedup_lowest, max(speedup) FILTER (saves_time) AS speedup_highest,
    count(DISTINCT config_name) FILTER (mixed_speed_ratio IS NOT NULL) AS timed_beside_mixed,
    min(mixed_speed_ratio) AS mixed_ratio_lowest, max(mixed_speed_ratio) AS mixed_ratio_highest,

    min(floor_share) AS floor_lowest, max(floor_share) AS floor_highest, max(ceiling_share) AS ceiling_highest,
    count(DISTINCT config_name) FILTER (floor_share > mostly) AS mostly_floor,
    min(floor_share) FILTER (floor_share > mostly) AS mostly_floor_lowest,
    count(DISTINCT config_name) FILTER (ceiling_share > mostly) AS mostly_ceiling,
    min(ceiling_share) FILTER (ceiling_share > mostly) AS mostly_ceiling_lowest,
    max(target_gap) AS target_gap_largest, any_value(thresholds) AS thresholds
FROM experiments, thresholds
GROUP BY GROUPING SETS ((model), (model, role), (model, role, set_name), (model, role, set_name, config_name));

-- `pick`: of the rules of a role with fewer experts than trained on every dataset, the cheapest that is not measurably
-- worse anywhere; where all are, the one that loses least. `surest`: whose worst dataset is best at equal compute.
CREATE VIEW findings AS
SELECT level, model, counts.role, counts.set_name, config_name, NULL AS dataset, NULL AS dataset_order, label, matched, alpha, target_k,
    wholes.* EXCLUDE (model, config_name), counts.* EXCLUDE (level, model, role, set_name, config_name, thresholds),
    level = 'configuration' AND saves_everywhere AND 1 = row_number() OVER (PARTITION BY level, model, counts.role
        ORDER BY NOT saves_everywhere, trained_worse > 0, if(trained_worse = 0, mean_experts, trained_cost), config_name)
        AS pick,
    level = 'configuration' AND loss_comparisons > 0 AND 1 = row_number() OVER (PARTITION BY level, model, counts.role
        ORDER BY loss_difference_highest, config_name) AS surest,
    unnest(if(level = 'model', thresholds, NULL))
FROM counts LEFT JOIN roles USING (model, config_name) LEFT JOIN wholes USING (model, config_name)
UNION ALL BY NAME
SELECT 'experiment' AS level, COLUMNS('^(model|role|set_name|config_name|label|matched|model_order|config_order|dataset.*|scored)$'),
    avg_experts, perplexity, accuracy, best_perplexity, best_accuracy, saves, against_avg_experts, loss_difference,
    loss_difference_low, loss_difference_high, loss_p_holm, loss_verdict, accuracy_difference, accuracy_p_holm,
    accuracy_verdict, trained_difference, trained_difference_low, trained_difference_high, trained_accuracy_difference,
    trained_verdict, random_difference
FROM experiments
ORDER BY model_order, level <> 'model', level <> 'role', level <> 'set', level <> 'configuration', config_order,
    dataset_order;

-- Column of `findings` (a regular expression) -> what it holds.
CREATE TABLE meanings AS FROM (VALUES
    ('level', 'What the row is about: a model, a role of rules, a set, a configuration or an experiment.'),
    ('model|set_name|config_name|dataset|label|alpha|target_k|matched', 'As in the aggregate tables.'),
    ('role', 'static: top-k; adaptive: chooses the number of experts by looking at the token; control: draws it.'),
    ('.*_order', 'Place in the report.'),
    ('trained|trained_label', 'Configuration that the model was trained with, and its label.'),
    ('experiments|datasets|configurations|static_rules|adaptive_rules|controls', 'How many.'),
    ('samples_.*', 'Fewest and most samples of a dataset.'),
    ('mean_experts', 'Mean experts per layer and token, mean over datasets.'),
    ('experts_.*', 'Range of the mean experts of its experiments.'),
    ('avg_experts|perplexity|accuracy', 'Of the experiment; accuracy as a share of all answers.'),
    ('best_.*', 'Whether the value is the best of the dataset, matched controls left out.'),
    ('scored', 'Whether the dataset has an accuracy.'),
    ('saves|saves_everywhere', 'Fewer experts than the trained top-k, on the dataset or on all.'),
    ('matched_configurations', 'Configurations with a compute-matched baseline.'),
    ('configurations_(better|worse)', 'Of these, those with such a loss on some dataset and the opposite on none.'),
    ('against_avg_experts|budget_gap_largest', 'Mean experts of the baseline; largest distance to it.'),
    ('(loss|accuracy)_tests', 'p-values of the family that Holm corrects.'),
    ('(loss|accuracy)_(comparisons|better|worse|undecided)', 'Comparisons at equal compute and their verdicts.'),
    ('(loss|accuracy)_answer', 'What these say together: better, worse, mixed, not distinguishable, not compared.'),
    ('(loss|accuracy)_(difference|interval|p_holm|verdict).*', 'At equal compute, as in equal_compute, or their range.'),
    ('trained_(comparisons|intervals|better|worse)', 'Comparisons with the trained top-k, by uncorrected intervals.'),
    ('trained_(difference|accuracy).*|trained_verdict', 'Against the trained top-k, as in paired_differences.'),
    ('(saving|above)(_.*)?', 'The same where there are fewer, or more, experts than the trained top-k.'),
    ('trained_cost|trained_allowed', 'Largest loss difference to the trained top-k; largest end of an interval.'),
    ('pick', 'The cheapest rule of its role that is nowhere measurably worse than trained, otherwise the least costly.'),
    ('surest', 'The rule of its role whose worst loss difference at equal compute is best.'),
    ('random_.*', 'Loss minus that of random counts of the same distribution: comparisons, lower, range.'),
    ('.*flops.*|.*tokens_per_second|.*latency.*', 'As in bh_routing_configs; mixed: of the compute-matched baseline.'),
    ('speedup.*', 'Prefill speed over that of the trained top-k, for rules with fewer experts.'),
    ('mixed_.*ratio.*', 'Prefill speed over that of the compute-matched baseline.'),
    ('timed.*|slower_than_trained', 'Rules whose speed was compared, and those that ran slower.'),
    ('.*(floor|ceiling|between).*', 'Share of (layer, token) at the fewest or most experts, or between; mostly: above half.'),
    ('target_gap_largest', 'Largest distance of the mean experts to the budget asked for.'),
    ('significance|interval_level|miss_level|mostly|formula_.*', 'Constants of method.')
) AS meaning(pattern, meaning);
