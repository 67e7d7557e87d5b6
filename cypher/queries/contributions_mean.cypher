// contributions_mean
// What each layer's attention and MLP, the embeddings and the constants add to the target's logit, averaged over prompts.
//
// The means sum to the mean logit.
//
// topic: contributions
// columns:
//   layer - layer (-1: the embeddings, the number of layers: the constant)
//   component - what adds it
//   mean_contribution - mean direct effect on the target's logit
//   mean_foil_contribution - mean direct effect on the foil's logit, where there is one
//   prompts - prompts
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (a:State)-[r:ADDS]->(b:State)
WHERE a.prompt = p.id AND a.position = p.n_tokens - 1 AND NOT a.kind IN ['attention_bias', 'mlp_bias']
RETURN a.layer AS layer, a.kind AS component, avg(r.contribution) AS mean_contribution,
  avg(r.foil_contribution) AS mean_foil_contribution, count(r) AS prompts
UNION ALL
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (m:Model) WHERE m.id = p.model
RETURN m.n_layer AS layer, 'constant' AS component, avg(p.target_constant) AS mean_contribution,
  avg(p.foil_constant) AS mean_foil_contribution, count(p) AS prompts
