-- The analyses of routing as one table: what was measured, and beside it what chance gives.
-- Sources: the analysis tables of all models, one below the other, with `model`, `place` (of the model) and `row`.

WITH measures AS (
    SELECT 1 AS part, model, place, row, layer, 'repetition: experts that the next token uses too' AS measure,
        share AS value, expected_share AS chance
    FROM repetition
    UNION ALL SELECT 2, model, place, row, layer, 'repetition: same first choice as the token before',
        first_choice_share, expected_first_choice_share
    FROM repetition
    UNION ALL SELECT 3, model, place, row, layer,
        format('segment routing best performance (F1), {} tokens', segment_length),
        segment_routing_best_performance, expected_segment_routing_best_performance
    FROM segments
    UNION ALL SELECT 4, model, place, row, layer,
        format('segment cache hit rate, {} tokens ahead, {} experts cached', segment_length, cache_size),
        segment_cache_hit_rate, fixed_hit_rate
    FROM caches
    UNION ALL SELECT 5, model, place, row, layer,
        format('co-activation, strongest pair: expert {} given {}', other, expert), share, expected_share
    FROM coactivation QUALIFY row_number() OVER (PARTITION BY model, layer ORDER BY share DESC, row) = 1
    UNION ALL SELECT 6, model, place, row, layer,
        format('domain specialisation, largest: expert {} in {}', expert, domain), share, chance
    FROM domain_specialisation WHERE choices = 'used'
    QUALIFY row_number() OVER (PARTITION BY model, layer ORDER BY share DESC, row) = 1
    UNION ALL SELECT 7, model, place, row, layer, 'vocabulary specialisation, '
            || CASE choices WHEN 'used' THEN 'used experts' WHEN 'first' THEN 'first choice' END,
        specialisation, chance
    FROM vocabulary_by_layer
    UNION ALL SELECT 8, model, place, row, layer, format('router saturation after step {}', step), saturation, chance
    FROM saturation
)
SELECT model, layer, measure, value, chance FROM measures ORDER BY place, layer, part, row;
