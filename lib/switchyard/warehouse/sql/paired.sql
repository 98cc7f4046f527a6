-- Every configuration against static routing with the trained top-k, sample by sample.
--
-- Loss per token: R = sum(d) / sum(w) over samples, d the difference of losses and w the tokens, a ratio of two
-- sums; its variance by linearisation, n / (n - 1) sum((d - R w)^2) / sum(w)^2. Accuracy: mean difference and the
-- variance of its mean. Intervals are normal, 95 %. McNemar's test is exact: 2 P(Binomial(a + b, 1/2) <= min(a, b)).

CREATE VIEW paired_differences AS
WITH baselines AS (
    SELECT model, dataset, min(config) AS against FROM experiments
    WHERE strategy = 'topk' AND k_or_max_k = trained_top_k GROUP BY model, dataset
),
pairs AS (
    SELECT e.ordinal, e.model, e.config, e.dataset, b.against, ours.sample_id,
        ours.loss - theirs.loss AS d, ours.loss_tokens AS w,
        coalesce(ours.correct_norm, ours.correct)::INTEGER AS a,
        coalesce(theirs.correct_norm, theirs.correct)::INTEGER AS b
    FROM experiments AS e JOIN baselines AS b
        ON e.model = b.model AND e.dataset = b.dataset AND e.config <> b.against
    JOIN samples AS ours ON ours.model = e.model AND ours.config = e.config AND ours.dataset = e.dataset
    JOIN samples AS theirs
        ON theirs.model = e.model AND theirs.config = b.against AND theirs.dataset = e.dataset
            AND theirs.sample_id = ours.sample_id
),
means AS (
    SELECT ordinal, model, config, dataset, against, count(*) AS samples, sum(w)::BIGINT AS tokens,
        sum(d ORDER BY sample_id) / sum(w) AS loss_difference, avg(a - b) AS accuracy_difference,
        count(*) FILTER (a > b) AS only_this_correct, count(*) FILTER (b > a) AS only_against_correct,
        count(a) AS answered
    FROM pairs GROUP BY ordinal, model, config, dataset, against
),
spreads AS (
    SELECT model, config, dataset,
        sum((d - loss_difference * w) * (d - loss_difference * w) ORDER BY sample_id) AS loss_squares,
        sum((a - b - accuracy_difference) * (a - b - accuracy_difference) ORDER BY sample_id) AS accuracy_squares
    FROM pairs JOIN means USING (model, config, dataset) GROUP BY model, config, dataset
),
errors AS (
    SELECT *,
        CASE WHEN samples > 1 THEN 1.959963984540054 * sqrt(samples / (samples - 1) * loss_squares) / tokens END
            AS loss_half,
        CASE WHEN samples > 1 THEN 1.959963984540054 * sqrt(accuracy_squares / (samples - 1) / samples) END
            AS accuracy_half,
        only_this_correct + only_against_correct AS discordant
    FROM means JOIN spreads USING (model, config, dataset)
)
SELECT model, config AS config_name, dataset, against, samples, loss_difference,
    loss_difference - loss_half AS loss_difference_low, loss_difference + loss_half AS loss_difference_high,
    accuracy_difference, accuracy_difference - accuracy_half AS accuracy_difference_low,
    accuracy_difference + accuracy_half AS accuracy_difference_high,
    CASE WHEN answered > 0 THEN only_this_correct END AS only_this_correct,
    CASE WHEN answered > 0 THEN only_against_correct END AS only_against_correct,
    CASE WHEN answered = 0 THEN NULL WHEN discordant = 0 THEN 1.0 ELSE least(1.0, 2 * list_sum(list_transform(
        range(0, least(only_this_correct, only_against_correct) + 1),
        lambda i: exp(lgamma(discordant + 1) - lgamma(i + 1) - lgamma(discordant - i + 1) - discordant * ln(2))
    ))) END AS mcnemar_p
FROM errors ORDER BY ordinal;
COMMENT ON VIEW paired_differences IS 'Every configuration against static routing with the trained top-k, paired by sample; empty where the study has no such configuration.';
COMMENT ON COLUMN paired_differences.against IS 'Configuration compared with: topk with the trained k.';
COMMENT ON COLUMN paired_differences.samples IS 'Samples that both have.';
COMMENT ON COLUMN paired_differences.loss_difference IS 'Loss per target token, this minus the other, nats; above 0 is worse.';
COMMENT ON COLUMN paired_differences.loss_difference_low IS 'Lower end of the 95 % interval; null for one sample.';
COMMENT ON COLUMN paired_differences.loss_difference_high IS 'Upper end of the 95 % interval; null for one sample.';
COMMENT ON COLUMN paired_differences.accuracy_difference IS 'Accuracy, this minus the other (cloze acc, choice acc_norm); below 0 is worse; null for text.';
COMMENT ON COLUMN paired_differences.accuracy_difference_low IS 'Lower end of the 95 % interval.';
COMMENT ON COLUMN paired_differences.accuracy_difference_high IS 'Upper end of the 95 % interval.';
COMMENT ON COLUMN paired_differences.only_this_correct IS 'Samples that only this configuration answers correctly; null for text.';
COMMENT ON COLUMN paired_differences.only_against_correct IS 'Samples that only the other answers correctly; null for text.';
COMMENT ON COLUMN paired_differences.mcnemar_p IS 'Exact two-sided McNemar p-value, not corrected for the number of comparisons; null for text.';
