// models
// The models of a store and how many prompts each has.
//
// topic: store
// columns:
//   model - id: the fingerprint of weights, configuration and tokenizer
//   name - the name or folder that it was loaded from
//   family - its architecture family
//   n_layer - layers
//   n_head - heads a layer
//   d_model - width of the residual
//   d_mlp - MLP neurons a layer
//   vocab_size - tokens of the vocabulary
//   prompts - prompts stored
//   correct - those that the model answers with their target
MATCH (m:Model)
OPTIONAL MATCH (p:Prompt) WHERE p.model = m.id AND p.complete
RETURN m.id AS model, m.name AS name, m.family AS family, m.n_layer AS n_layer, m.n_head AS n_head,
  m.d_model AS d_model, m.d_mlp AS d_mlp, m.vocab_size AS vocab_size, count(p) AS prompts,
  count(CASE WHEN p.correct THEN 1 END) AS correct
ORDER BY name, model
