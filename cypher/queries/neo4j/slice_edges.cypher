MATCH (a:State|Query|Key|Value|Head)-[r:NORMALIZES|PROJECTS|SPLITS|ATTENDS|RECALLS|SUMS|CONCATENATES|ADDS|SKIPS|CREATES]->(b:State|Query|Key|Value|Head)
WHERE a.id >= $prompt * 16777216 AND a.id < ($prompt + 1) * 16777216
  /* if first_layer: AND a.layer >= $first_layer AND b.layer >= $first_layer */
  /* if last_layer: AND a.layer <= $last_layer AND b.layer <= $last_layer */
  /* if position: AND (a.position = $position OR (a.kind IN ['key', 'value'] AND a.position < $position)) */
  /* if position: AND (b.position = $position OR (b.kind IN ['key', 'value'] AND b.position < $position)) */
  /* if values: AND (r.rank IS NULL OR r.rank <= $values) */
RETURN b.layer AS layer, type(r) AS type, a.id AS `from`, b.id AS `to`, r.score AS score, r.rank AS rank,
  r.logit AS logit, r.norm AS norm, r.contribution AS contribution, r.foil_contribution AS foil_contribution
ORDER BY layer, `from`, `to`, type
