// neurons_of_token
// Neurons whose projection has a token among its top tokens, or among the top tokens of its negative.
//
// A static question: what the weights say, whatever the prompt.
//
// topic: neurons
// parameters:
//   token: string - the token's exact text, with its space
//   matrix: string = mlp, one of mlp | attention_output - the second MLP matrix, or W_O
//   layer: layer? = all, 0.. - only this layer
//   limit: int = 100, 1.. - rows
// columns:
//   layer - layer of the neuron
//   neuron - its row in the matrix
//   sign - 1: the row promotes the token, -1: its negative does
//   first - whether the token is its very first
//   norm - norm of the row
//   entropy - entropy of its projection, bits
//   head - the head that the row belongs to (W_O)
//   top_tokens - its ten top tokens
//   bottom_tokens - top tokens of its negative
//   key_tokens - top tokens of the neuron's first-matrix vector: what it responds to
MATCH (n:Neuron)
WHERE n.matrix = $matrix AND ($token IN n.top_tokens OR $token IN n.bottom_tokens) /* if layer: AND n.layer = $layer */
RETURN n.layer AS layer, n.`index` AS neuron, CASE WHEN $token IN n.top_tokens THEN 1 ELSE -1 END AS sign,
  CASE WHEN $token IN n.top_tokens THEN $token IN (n.top_tokens[..1]) ELSE $token IN (n.bottom_tokens[..1]) END AS first,
  n.norm AS norm, n.entropy AS entropy, n.head AS head, n.top_tokens AS top_tokens, n.bottom_tokens AS bottom_tokens,
  n.key_top_tokens AS key_tokens
ORDER BY layer, neuron LIMIT $limit
