// token_search_id
// Where a token, by its id, is among the fifty top tokens of a vector, by kind and layer, over all prompts.
//
// topic: search
// parameters:
//   token_id: int, 0.. - id of the token
//   kind: string? = all - only vectors of this kind
//   layer: layer? = all, -1.. - only this layer
//   limit: int = 1000, 1.. - rows
// columns:
//   kind - kind of the vectors
//   layer - their layer
//   states - how many have the token among their top fifty
//   prompts - in how many prompts
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (s:State|Query|Key|Value|Head)
WHERE s.prompt = p.id AND $token_id IN s.top_ids /* if kind: AND s.kind = $kind */ /* if layer: AND s.layer = $layer */
RETURN s.kind AS kind, s.layer AS layer, count(s) AS states, count(DISTINCT s.prompt) AS prompts
ORDER BY states DESC, kind, layer LIMIT $limit
