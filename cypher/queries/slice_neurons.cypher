// slice_neurons
// Neurons of chosen layers of one prompt with their coefficients: the most activated of every matrix.
//
// Each row is a neuron with the two relationships through which it takes part: ACTIVATES with its coefficient before
// the nonlinearity and WRITES with the one after it. As in A.5 the neurons are those with the largest absolute
// coefficients; `neurons=all` shows every one. (The policy `paper` of `flowatlas graph` takes the strongest positive
// and the strongest negative ones separately.)
//
// topic: slice
// parameters:
//   prompt: prompt - the prompt
//   first_layer: layer? = all, 0.. - first layer
//   last_layer: layer? = all, 0.. - last layer, itself shown
//   position: position? = all, 0.. - query position, where more than the last are stored
//   neurons: int? = 25, 1.. - neurons a matrix
// columns:
//   layer - layer of the neuron
//   matrix - its matrix: mlp or attention_output
//   index - its row in the matrix
//   head - the head that a row of W_O belongs to
//   neuron - id of the neuron
//   from - id of the vector that activates it
//   to - id of the vector that it writes to
//   before - coefficient before the nonlinearity
//   score - coefficient after the nonlinearity
//   rank - 1 = the largest absolute coefficient of its matrix
//   norm - norm of what it writes
//   contribution - direct effect on the target's logit
//   target_rank - rank of the target in the projection of what it writes
//   top_tokens - top tokens of the neuron
//   bottom_tokens - top tokens of its negative
MATCH (n:Neuron)-[w:WRITES]->(b:State)
WHERE b.id >= $prompt * 16777216 AND b.id < ($prompt + 1) * 16777216
  /* if first_layer: AND b.layer >= $first_layer */
  /* if last_layer: AND b.layer <= $last_layer */
  /* if position: AND b.position = $position */
  /* if neurons: AND w.rank <= $neurons */
WITH n.id AS neuron, b.id AS `to`, b.position AS position, w.score AS score, w.rank AS rank, w.norm AS norm,
  w.contribution AS contribution, w.target_rank AS target_rank
MATCH (a:State)-[e:ACTIVATES]->(m:Neuron)
WHERE a.id >= $prompt * 16777216 AND a.id < ($prompt + 1) * 16777216 AND m.id = neuron AND a.position = position
WITH neuron, a.id AS `from`, `to`, e.score AS before, score, rank, norm, contribution, target_rank
MATCH (n:Neuron) WHERE n.id = neuron
RETURN n.layer AS layer, n.matrix AS matrix, n.`index` AS `index`, n.head AS head, neuron, `from`, `to`, before, score,
  rank, norm, contribution, target_rank, n.top_tokens AS top_tokens, n.bottom_tokens AS bottom_tokens
ORDER BY layer, matrix, `to`, rank, `index`
