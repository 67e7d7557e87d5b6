// shared_neurons
// Neurons that are among the most activated of their layer in most prompts of two groups.
//
// topic: comparison
// parameters:
//   a: selection - the first group
//   b: selection - the second group
//   rank: int = 10, 1.. - a neuron is on when its absolute coefficient is among so many largest of its layer
//   share: float = 0.5, 0..1 - least share of the prompts of each group
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the neuron
//   neuron - its row in the second MLP matrix
//   share_a - share of the first group's prompts in which it is on
//   share_b - share of the second's
//   prompts_a - prompts of the first group
//   prompts_b - prompts of the second
//   top_tokens - its ten top tokens
MATCH (p:Prompt) WHERE p.complete /* selection a of p */
WITH count(p) AS prompts_a
MATCH (p:Prompt) WHERE p.complete /* selection b of p */
WITH prompts_a, count(p) AS prompts_b
MATCH (p:Prompt) WHERE p.complete /* selection a of p */
MATCH (n:Neuron)-[w:WRITES]->(o:State)
WHERE o.prompt = p.id AND o.kind = 'mlp_output' AND o.position = p.n_tokens - 1 AND w.rank <= $rank
WITH prompts_a, prompts_b, n.id AS id, count(w) AS active_a
WHERE active_a >= $share * prompts_a
MATCH (p:Prompt) WHERE p.complete /* selection b of p */
MATCH (n:Neuron)-[w:WRITES]->(o:State)
WHERE o.prompt = p.id AND o.kind = 'mlp_output' AND o.position = p.n_tokens - 1 AND w.rank <= $rank AND n.id = id
WITH prompts_a, prompts_b, id, active_a, count(w) AS active_b
WHERE active_b >= $share * prompts_b
MATCH (n:Neuron) WHERE n.id = id
RETURN n.layer AS layer, n.`index` AS neuron, 1.0 * active_a / prompts_a AS share_a, 1.0 * active_b / prompts_b AS share_b,
  prompts_a, prompts_b, n.top_tokens AS top_tokens
ORDER BY layer, neuron LIMIT $limit
