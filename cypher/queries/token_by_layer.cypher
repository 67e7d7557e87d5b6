// token_by_layer
// The rank of any token in the residual of one prompt, layer by layer, where it is among the top 50.
//
// topic: trajectory
// parameters:
//   prompt: prompt - the prompt
//   token_id: int, 0.. - id of the token
// columns:
//   layer - layer (-1: the embedding, the number of layers: the final norm)
//   kind - which vector
//   rank - rank of the token; empty where it is not among the top 50
//   target_rank - rank of the target, to compare
//   top_token - the most probable token
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (s:State)
WHERE s.id >= $prompt * 16777216 AND s.id < ($prompt + 1) * 16777216 AND s.position = p.n_tokens - 1
  AND s.kind IN ['embedding', 'residual_mid', 'residual_post', 'final_norm']
UNWIND range(1, 50) AS i
WITH s, min(CASE WHEN $token_id IN (s.top_ids[..i]) THEN i END) AS place
RETURN s.layer AS layer, s.kind AS kind, place AS rank, s.target_rank AS target_rank, s.top_token AS top_token
ORDER BY layer, kind
