// target_by_layer
// How target and foil rise through the layers of one prompt: the residual after attention and after the MLP.
//
// topic: trajectory
// parameters:
//   prompt: prompt - the prompt
// columns:
//   layer - layer (-1: the embedding, the number of layers: the final norm)
//   kind - which vector
//   target_rank - rank of the target, 1 = first
//   target_prob - probability of the target
//   foil_rank - rank of the foil
//   foil_prob - probability of the foil
//   top_token - the most probable token
//   entropy - entropy of the projection, bits
//   norm - norm of the vector
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (s:State)
WHERE s.id >= $prompt * 16777216 AND s.id < ($prompt + 1) * 16777216 AND s.position = p.n_tokens - 1
  AND s.kind IN ['embedding', 'residual_mid', 'residual_post', 'final_norm']
RETURN s.layer AS layer, s.kind AS kind, s.target_rank AS target_rank, s.target_prob AS target_prob,
  s.foil_rank AS foil_rank, s.foil_prob AS foil_prob, s.top_token AS top_token, s.entropy AS entropy, s.norm AS norm
ORDER BY layer, kind
