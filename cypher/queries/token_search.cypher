// token_search
// Where a token is among the ten top tokens of a vector, by kind and layer, over all prompts.
//
// topic: search
// parameters:
//   token: string - the token's exact text, with its space
//   kind: string? = all - only vectors of this kind
//   layer: layer? = all, -1.. - only this layer
//   limit: int = 1000, 1.. - rows
// columns:
//   kind - kind of the vectors
//   layer - their layer
//   states - how many have the token among their top ten
//   prompts - in how many prompts
//   first - how many have it first
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (s:State|Query|Key|Value|Head)
WHERE s.prompt = p.id AND $token IN s.top_tokens /* if kind: AND s.kind = $kind */ /* if layer: AND s.layer = $layer */
RETURN s.kind AS kind, s.layer AS layer, count(s) AS states, count(DISTINCT s.prompt) AS prompts,
  count(CASE WHEN s.top_token = $token THEN 1 END) AS first
ORDER BY states DESC, kind, layer LIMIT $limit
