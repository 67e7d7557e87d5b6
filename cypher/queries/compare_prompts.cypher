// compare_prompts
// Two prompts vector by vector: where the probability of the target differs most.
//
// Vectors are matched by kind, layer, head and position counted from the start; each prompt is judged by its own
// target.
//
// topic: comparison
// parameters:
//   a: prompt - the first prompt
//   b: prompt - the second prompt
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the vector
//   kind - what it is
//   head - head, where it has one
//   source - position that it remembers, of keys and values
//   prob_a - probability of the target in the first prompt
//   prob_b - probability of the target in the second
//   change - the second less the first
//   rank_a - rank of the target in the first
//   rank_b - rank of the target in the second
//   top_a - top token in the first
//   top_b - top token in the second
MATCH (p:Prompt) WHERE p.id IN [$a, $b]
MATCH (s:State|Query|Key|Value|Head)
WHERE s.id >= ($a + $b - abs($a - $b)) / 2 * 16777216 AND s.id < (($a + $b + abs($a - $b)) / 2 + 1) * 16777216
  AND ((s.id >= $a * 16777216 AND s.id < ($a + 1) * 16777216) OR (s.id >= $b * 16777216 AND s.id < ($b + 1) * 16777216))
  AND s.prompt = p.id AND (s.position = p.n_tokens - 1 OR s.kind IN ['key', 'value'])
WITH s.layer AS layer, s.kind AS kind, s.head AS head, s.source AS source,
  max(CASE WHEN p.id = $a THEN s.target_prob END) AS prob_a, max(CASE WHEN p.id = $b THEN s.target_prob END) AS prob_b,
  max(CASE WHEN p.id = $a THEN s.target_rank END) AS rank_a, max(CASE WHEN p.id = $b THEN s.target_rank END) AS rank_b,
  max(CASE WHEN p.id = $a THEN s.top_token END) AS top_a, max(CASE WHEN p.id = $b THEN s.top_token END) AS top_b
WHERE rank_a IS NOT NULL AND rank_b IS NOT NULL
RETURN layer, kind, head, source, prob_a, prob_b, prob_b - prob_a AS change, rank_a, rank_b, top_a, top_b
ORDER BY abs(prob_b - prob_a) DESC, layer, kind, head, source LIMIT $limit
