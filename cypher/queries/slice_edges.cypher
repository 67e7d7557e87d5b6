// slice_edges
// Relationships between vectors of chosen layers of one prompt.
//
// The edges of the flow graph (appendix A.1 to A.3) with their scores (A.4), without those of neurons
// (`slice_neurons` has them). Of the attention edges only those of the best memories of each head are shown, as in
// A.5; `values=all` shows every one.
//
// topic: slice
// parameters:
//   prompt: prompt - the prompt
//   first_layer: layer? = all, -1.. - first layer (-1: the embeddings)
//   last_layer: layer? = all, -1.. - last layer, itself shown (the number of layers: the final norm)
//   position: position? = all, 0.. - query position, where more than the last are stored
//   values: int? = 2, 1.. - memory keys and values a head, the best by attention
// columns:
//   layer - layer of the vector that the edge leads to
//   type - what the edge is
//   from - id of the vector it comes from
//   to - id of the vector it leads to
//   score - its score: an attention probability, or the norm of what flows
//   rank - on attention edges: 1 = the largest in its head
//   logit - on ATTENDS: attention score before the softmax
//   norm - on SUMS: norm of what the value adds to its head's output
//   contribution - direct effect on the target's logit
//   foil_contribution - direct effect on the foil's logit
MATCH (a:State|Query|Key|Value|Head)-[r:NORMALIZES|PROJECTS|SPLITS|ATTENDS|RECALLS|SUMS|CONCATENATES|ADDS|SKIPS|CREATES]->(b:State|Query|Key|Value|Head)
WHERE a.id >= $prompt * 16777216 AND a.id < ($prompt + 1) * 16777216
  /* if first_layer: AND a.layer >= $first_layer AND b.layer >= $first_layer */
  /* if last_layer: AND a.layer <= $last_layer AND b.layer <= $last_layer */
  /* if position: AND (a.position = $position OR (a.kind IN ['key', 'value'] AND a.position < $position)) */
  /* if position: AND (b.position = $position OR (b.kind IN ['key', 'value'] AND b.position < $position)) */
  /* if values: AND (r.rank IS NULL OR r.rank <= $values) */
RETURN b.layer AS layer, label(r) AS type, a.id AS `from`, b.id AS `to`, r.score AS score, r.rank AS rank,
  r.logit AS logit, r.norm AS norm, r.contribution AS contribution, r.foil_contribution AS foil_contribution
ORDER BY layer, `from`, `to`, type
