// neurons_by_layer
// The neurons of every layer's output matrix: how many, and the mean and spread of their entropy and norm.
//
// What the always-on neurons of figure 8 are set beside.
//
// topic: neurons
// parameters:
//   matrix: string = mlp, one of mlp | attention_output - the second MLP matrix, or W_O
// columns:
//   layer - layer of the matrix
//   neurons - its rows
//   mean_entropy - mean entropy of their projections, bits
//   mean_norm - mean norm
//   least_entropy - least entropy, bits
//   most_entropy - greatest entropy, bits
//   least_norm - least norm
//   most_norm - greatest norm
MATCH (p:Prompt) WHERE p.complete /* selection of p */
WITH DISTINCT p.model AS model
MATCH (n:Neuron) WHERE n.model = model AND n.matrix = $matrix
RETURN n.layer AS layer, count(n) AS neurons, avg(n.entropy) AS mean_entropy, avg(n.norm) AS mean_norm,
  min(n.entropy) AS least_entropy, max(n.entropy) AS most_entropy, min(n.norm) AS least_norm, max(n.norm) AS most_norm
ORDER BY layer
