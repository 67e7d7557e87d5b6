# %% [markdown]
# # A store with py2neo
#
# py2neo is past its end of life. This shows that notebooks written with it go on working; for anything
# new use `open_store(uri).read(text)`, which returns an Arrow table, or the official driver.
#
# Before: `make neo4j`, its three `export` lines, an ingest, and `pip install 'flowatlas[py2neo]'`.

# %%
import os

from flowatlas.stores.py2neo_graph import py2neo_graph

graph = py2neo_graph(os.environ["FLOWATLAS_STORE"])

# %% How many vectors of each kind a prompt has
prompt = graph.nodes.match("Prompt").order_by("_.id").first()
print(f"prompt {prompt['id']}: {prompt['text']!r}, {prompt['n_state']} vectors")

# %% The heads whose output has the target highest, as rows
rows = graph.run(
    """
    MATCH (h:Head {prompt: $prompt})
    RETURN h.layer AS layer, h.head AS head, h.target_rank AS rank, h.top_tokens[..3] AS top
    ORDER BY rank, layer, head LIMIT 5
    """,
    prompt=prompt["id"],
)
for row in rows:
    print(row["layer"], row["head"], row["rank"], row["top"])

# %% One head as a node, and the values that it sums
head = graph.nodes.match("Head", prompt=prompt["id"]).order_by("_.target_rank", "_.layer", "_.head").first()
sums = graph.relationships.match((None, head), "SUMS").order_by("_.rank").limit(3)
for number, edge in enumerate(sums, 1):
    print(
        f"value {number} of head {head['layer']}.{head['head']}: position {edge.start_node['source']}, {edge['score']:.3f}"
    )
