// neuron_history
// One neuron over all prompts: where it is active, and for which targets.
//
// topic: neurons
// parameters:
//   layer: layer - layer of the neuron
//   neuron: int, 0.. - its row in the matrix
//   matrix: string = mlp, one of mlp | attention_output - the second MLP matrix, or W_O
//   limit: int = 100, 1.. - rows
// columns:
//   prompt - id of the prompt
//   rank - 1 = the largest absolute coefficient of its layer in that prompt
//   coefficient - coefficient after the nonlinearity
//   contribution - direct effect on the target's logit
//   target_rank - rank of the target in what it writes
//   target - the prompt's target
//   text - the prompt
MATCH (n:Neuron) WHERE n.layer = $layer AND n.`index` = $neuron AND n.matrix = $matrix
MATCH (p:Prompt) WHERE p.complete AND p.model = n.model /* selection of p */
MATCH (n)-[w:WRITES]->(o:State) WHERE o.prompt = p.id AND o.position = p.n_tokens - 1
RETURN p.id AS prompt, w.rank AS rank, w.score AS coefficient, w.contribution AS contribution,
  w.target_rank AS target_rank, p.target AS target, p.text AS text
ORDER BY rank, prompt LIMIT $limit
