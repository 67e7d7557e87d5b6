// always_on_neurons
// Neurons among the most activated of their layer in nearly every prompt, beside their layer's mean.
//
// The regularization neurons of section 5.3: always active, of exceptional norm, with a flat projection. The paper
// counts a neuron as on when it is among the 100 most activated of 4,096; with fewer neurons a layer give a lower
// `rank` (2.4 % of them).
//
// topic: neurons
// parameters:
//   rank: int = 100, 1.. - a neuron is on when its absolute coefficient is among so many largest of its layer
//   share: float = 0.85, 0..1 - least share of prompts
//   layer: layer? = all, 0.. - only this layer
//   limit: int = 100, 1.. - rows
// columns:
//   layer - layer of the neuron
//   neuron - its row in the second MLP matrix
//   share - share of the prompts in which it is on
//   prompts - prompts looked at
//   mean_coefficient - mean coefficient where it is on
//   mean_contribution - mean direct effect on the target's logit where it is on
//   entropy - entropy of its projection, bits
//   layer_entropy - mean over its layer
//   norm - its norm
//   layer_norm - mean over its layer
//   top_tokens - its ten top tokens
MATCH (p:Prompt) WHERE p.complete /* selection of p */
WITH p.model AS model, count(p) AS prompts
MATCH (k:Neuron) WHERE k.model = model AND k.matrix = 'mlp' /* if layer: AND k.layer = $layer */
WITH model, prompts, k.layer AS layer, avg(k.entropy) AS layer_entropy, avg(k.norm) AS layer_norm
MATCH (p:Prompt) WHERE p.complete AND p.model = model /* selection of p */
MATCH (n:Neuron)-[w:WRITES]->(o:State)
WHERE o.prompt = p.id AND o.layer = layer AND o.kind = 'mlp_output' AND o.position = p.n_tokens - 1 AND w.rank <= $rank
WITH n.id AS id, prompts, layer_entropy, layer_norm, count(w) AS active, avg(w.score) AS mean_coefficient,
  avg(w.contribution) AS mean_contribution
WHERE active >= $share * prompts
MATCH (n:Neuron) WHERE n.id = id
RETURN n.layer AS layer, n.`index` AS neuron, 1.0 * active / prompts AS share, prompts, mean_coefficient,
  mean_contribution, n.entropy AS entropy, layer_entropy, n.norm AS norm, layer_norm, n.top_tokens AS top_tokens
ORDER BY layer, share DESC, neuron LIMIT $limit
