// layers_with_target_on_top
// In how many prompts the target is the most probable token after each layer.
//
// topic: trajectory
// columns:
//   layer - the layer
//   prompts - prompts
//   on_top - prompts in which the target is first after this layer
//   share - their share
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (s:State) WHERE s.prompt = p.id AND s.position = p.n_tokens - 1 AND s.kind = 'residual_post'
WITH s.layer AS layer, count(s) AS prompts, count(CASE WHEN s.target_rank = 1 THEN 1 END) AS on_top
RETURN layer, prompts, on_top, 1.0 * on_top / prompts AS share
ORDER BY layer
