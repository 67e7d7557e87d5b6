// first_layer_target_on_top
// For each prompt the first layer after which the target is the residual's most probable token.
//
// topic: trajectory
// parameters:
//   limit: int = 1000, 1.. - rows
// columns:
//   prompt - id of the prompt
//   first_layer - the first such layer; empty where there is none
//   layers_on_top - how many layers end with the target on top
//   correct - whether the model's prediction is the target
//   target - the target
//   text - the prompt
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (s:State) WHERE s.prompt = p.id AND s.position = p.n_tokens - 1 AND s.kind = 'residual_post'
WITH p.id AS prompt, p.correct AS correct, p.target AS target, p.text AS text,
  min(CASE WHEN s.target_rank = 1 THEN s.layer END) AS first_layer,
  count(CASE WHEN s.target_rank = 1 THEN 1 END) AS layers_on_top
RETURN prompt, first_layer, layers_on_top, correct, target, text
ORDER BY prompt LIMIT $limit
