// paths_from_token
// Ways on which an input token reaches the prediction through the value of a head, every step at least so strong.
//
// From a memory value of the token through its head and the attention output, along the residual and through MLPs, to
// the final norm, in at most 16 steps. Each relationship's score (A.4) is at least `minimum`: raise it until one way is
// left, and that is the strongest. `flowatlas paths` finds it exactly, of any length and through every kind of step.
//
// topic: paths
// parameters:
//   prompt: prompt - the prompt
//   source: position, 0.. - position of the input token
//   minimum: float = 0.3, 0.. - least score of every step
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   steps - relationships on the way
//   value_token - top token of the memory value
//   target_rank - rank of the target in the value's projection
MATCH (v:Value)-[s:SUMS]->(h:Head)-[way:CONCATENATES|PROJECTS|ADDS|SKIPS|NORMALIZES*1..15]->(f:State)
WHERE v.id >= $prompt * 16777216 AND v.id < ($prompt + 1) * 16777216 AND v.source = $source AND s.score >= $minimum
  AND f.id >= $prompt * 16777216 AND f.id < ($prompt + 1) * 16777216 AND f.kind = 'final_norm'
  AND all(score IN properties(relationships(way), 'score') WHERE score >= $minimum)
RETURN v.layer AS layer, v.head AS head, length(way) + 1 AS steps, v.top_token AS value_token,
  v.target_rank AS target_rank
ORDER BY layer DESC, head, steps LIMIT $limit
