// paths_from_token
// Ways on which an input token reaches the prediction through the value of one head, every step at least so strong.
//
// From a memory value of the token through its head and attention output along the residual to the final norm; each
// relationship's score (A.4) is at least `minimum`. The strongest path is the one that is left when `minimum` rises:
// `flowatlas graph --path` finds it exactly, through all kinds of steps.
//
// topic: paths
// parameters:
//   prompt: prompt - the prompt
//   source: position, 0.. - position of the input token
//   minimum: float = 0.1, 0.. - least score of every step
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   steps - relationships on the way
//   weakest - whether attention is the weakest step: the attention probability
//   value_token - top token of the memory value
//   head_token - top token of the head
//   contribution - direct effect of the value on the target's logit
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE v.id >= $prompt * 16777216 AND v.id < ($prompt + 1) * 16777216 AND v.source = $source AND r.score >= $minimum
WITH h, r.score AS attention, r.contribution AS contribution, v.top_token AS value_token
MATCH way = (h)-[:CONCATENATES|PROJECTS|ADDS|SKIPS|NORMALIZES*1..30]->(f:State)
WHERE f.kind = 'final_norm' AND all(x IN relationships(way) WHERE x.score >= $minimum)
RETURN h.layer AS layer, h.head AS head, length(way) + 1 AS steps, attention AS weakest, value_token,
  h.top_token AS head_token, contribution
ORDER BY weakest DESC, layer, head, steps LIMIT $limit
