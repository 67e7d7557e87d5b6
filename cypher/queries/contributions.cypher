// contributions
// What each layer's attention and MLP, the embeddings and the constants add to the target's logit; the sum is the logit.
//
// Direct effects with the final norm's scale frozen. Those of attention and MLP hold their biases. The constant is what
// no vector of the pass adds: the biases of the final norm and of the unembedding.
//
// topic: contributions
// parameters:
//   prompt: prompt - the prompt
// columns:
//   layer - layer (-1: the embeddings, the number of layers: the constant)
//   component - what adds it
//   contribution - direct effect on the target's logit
//   foil_contribution - direct effect on the foil's logit
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (a:State)-[r:ADDS]->(b:State)
WHERE a.id >= $prompt * 16777216 AND a.id < ($prompt + 1) * 16777216 AND a.position = p.n_tokens - 1
  AND NOT a.kind IN ['attention_bias', 'mlp_bias']
RETURN a.layer AS layer, a.kind AS component, r.contribution AS contribution, r.foil_contribution AS foil_contribution
UNION ALL
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (m:Model) WHERE m.id = p.model
RETURN m.n_layer AS layer, 'constant' AS component, p.target_constant AS contribution, p.foil_constant AS foil_contribution
