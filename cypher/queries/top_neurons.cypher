// top_neurons
// The neurons of a prompt with the largest coefficients, by layer.
//
// The most activated rows of an output matrix (A.5), with what each promotes: top tokens of the row, or those of its
// negative where the coefficient is negative.
//
// topic: neurons
// parameters:
//   prompt: prompt - the prompt
//   neurons: int = 10, 1.. - neurons a matrix
//   matrix: string = mlp, one of mlp | attention_output - the second MLP matrix, or W_O
//   layer: layer? = all, 0.. - only this layer
//   limit: int = 1000, 1.. - rows
// columns:
//   layer - layer of the neuron
//   neuron - its row in the matrix
//   rank - 1 = the largest absolute coefficient
//   coefficient - coefficient after the nonlinearity
//   contribution - direct effect on the target's logit
//   target_rank - rank of the target in what it writes
//   norm - norm of what it writes
//   entropy - entropy of the row's projection, bits
//   head - the head that the row belongs to (W_O)
//   promoted - the ten tokens that it promotes
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (n:Neuron)-[w:WRITES]->(o:State)
WHERE o.id >= $prompt * 16777216 AND o.id < ($prompt + 1) * 16777216 AND o.position = p.n_tokens - 1
  AND o.kind = CASE WHEN $matrix = 'mlp' THEN 'mlp_output' ELSE 'attention_output' END AND w.rank <= $neurons /* if layer: AND o.layer = $layer */
RETURN n.layer AS layer, n.`index` AS neuron, w.rank AS rank, w.score AS coefficient, w.contribution AS contribution,
  w.target_rank AS target_rank, w.norm AS norm, n.entropy AS entropy, n.head AS head,
  CASE WHEN w.score < 0 THEN n.bottom_tokens ELSE n.top_tokens END AS promoted
ORDER BY layer, rank, neuron LIMIT $limit
