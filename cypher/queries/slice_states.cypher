// slice_states
// Vectors of chosen layers of one prompt, with their projections.
//
// The nodes of the flow graph (appendix A.1 and A.2) that belong to a prompt: one for every vector of the forward
// pass. Embeddings have layer -1, the final norm the number of layers. Of the memory keys and values only the best by
// attention are shown, as in A.5; `values=all` shows every one.
//
// topic: slice
// parameters:
//   prompt: prompt - the prompt
//   first_layer: layer? = all, -1.. - first layer (-1: the embeddings)
//   last_layer: layer? = all, -1.. - last layer, itself shown (the number of layers: the final norm)
//   position: position? = all, 0.. - query position, where more than the last are stored
//   values: int? = 2, 1.. - memory keys and values a head, the best by attention
// columns:
//   layer - layer of the vector
//   kind - what it is
//   head - head, for queries, keys, values and heads
//   source - the position that a key or value remembers
//   position - query position (of keys and values: the one remembered)
//   id - id of the node
//   norm - its norm
//   entropy - entropy of its projection, bits
//   top_token - most probable token
//   top_tokens - the ten most probable tokens
//   top_probs - their probabilities
//   top_ids - ids of the fifty most probable tokens
//   target_rank - rank of the target, 1 = first
//   target_prob - probability of the target
//   foil_rank - rank of the foil
//   foil_prob - probability of the foil
//   source_rank - of values: rank of the token that they remember
//   source_prob - its probability
MATCH (s:State|Query|Key|Value|Head)
WHERE s.id >= $prompt * 16777216 AND s.id < ($prompt + 1) * 16777216
  /* if first_layer: AND s.layer >= $first_layer */
  /* if last_layer: AND s.layer <= $last_layer */
  /* if position: AND (s.position = $position OR (s.kind IN ['key', 'value'] AND s.position < $position)) */
/* if values: OPTIONAL MATCH (s)-[r:RECALLS|SUMS]->(o:Value|Head) WITH DISTINCT s, CASE WHEN r.rank > $values THEN false ELSE true END AS shown WHERE shown */
RETURN s.layer AS layer, s.kind AS kind, s.head AS head, s.source AS source, s.position AS position, s.id AS id,
  s.norm AS norm, s.entropy AS entropy, s.top_token AS top_token, s.top_tokens AS top_tokens, s.top_probs AS top_probs,
  s.top_ids AS top_ids, s.target_rank AS target_rank, s.target_prob AS target_prob, s.foil_rank AS foil_rank,
  s.foil_prob AS foil_prob, s.source_rank AS source_rank, s.source_prob AS source_prob
ORDER BY layer, id
