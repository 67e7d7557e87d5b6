// most_activated_neurons
// The most activated MLP neurons of every layer and prompt: the mean entropy of their projections, and their mean norm.
//
// The paper's figure 8 takes the 100 most activated of 4,096.
//
// topic: neurons
// parameters:
//   rank: int = 100, 1.. - so many of a layer, the largest by absolute coefficient
// columns:
//   prompt - id of the prompt
//   layer - layer of the neurons
//   neurons - how many are stored
//   mean_entropy - mean entropy of their projections, bits
//   mean_norm - mean norm
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (n:Neuron)-[w:WRITES]->(o:State)
WHERE o.prompt = p.id AND o.kind = 'mlp_output' AND o.position = p.n_tokens - 1 AND w.rank <= $rank
RETURN p.id AS prompt, o.layer AS layer, count(w) AS neurons, avg(n.entropy) AS mean_entropy, avg(n.norm) AS mean_norm
ORDER BY prompt, layer
