"""What a person's query to the embedded store may be: one statement that only reads its graph.

Two looks before it runs: at the text (statements that reach out do so while they are still being
bound, so the database must not see them at all) and at the operators of the plan.
"""

from __future__ import annotations

import re
from typing import Final

from flowatlas.errors import QueryError
from flowatlas.stores.cypher_text import forbid_words

READING: Final = "A question may MATCH, UNWIND, WITH, UNION and RETURN; it cannot write, call procedures or read files."

_FORBIDDEN: Final = (
    "ALTER ANALYZE ATTACH BEGIN CALL CHECKPOINT COMMENT COMMIT COPY CREATE DELETE DETACH DROP EXPLAIN EXPORT FORCE "
    "FOREACH IMPORT INSTALL LOAD MERGE PROFILE PROJECT_GRAPH REMOVE ROLLBACK SET UNINSTALL UPDATE USE"
).split()
_MIXED_UP: Final = re.compile(
    r"\b(?:all|any|none|single)\s*\(\s*\w+\s+IN\s+(?:relationships|rels)\s*\(|\blist_\w+\s*\(\s*(?:relationships|rels)\s*\(",
    re.IGNORECASE,
)
"""There a property of the variable is that of another relationship: 70 paths were answered instead of 8."""
_OPERATOR: Final = re.compile(r"│\s+([A-Z][A-Z_]+)\[\d+\]\s+│")
ALLOWED_OPERATORS: Final = frozenset(
    "AGGREGATE AGGREGATE_FINALIZE AGGREGATE_SCAN COUNT_REL_TABLE CROSS_PRODUCT DUMMY_SCAN DUMMY_SINK EMPTY_RESULT "
    "EXPRESSIONS_SCAN FILTER FLATTEN HASH_JOIN_BUILD HASH_JOIN_PROBE INDEX_LOOKUP INTERSECT INTERSECT_BUILD LIMIT "
    "MULTIPLICITY_REDUCER ORDER_BY ORDER_BY_MERGE ORDER_BY_SCAN PATH_PROPERTY_PROBE PRIMARY_KEY_SCAN "
    "PRIMARY_KEY_SCAN_NODE_TABLE PROJECTION QUERY_PRIMARY_KEY_LOOKUP RECURSIVE_EXTEND RESULT_COLLECTOR SCAN_NODE_TABLE SCAN_REL_TABLE "
    "SEMI_MASKER SKIP TABLE_FUNCTION_CALL TOP_K TOP_K_SCAN UNION_ALL_SCAN UNWIND".split()
)
_FUNCTION: Final = re.compile(r"│\s+Function: (\w+)")
_OWN_ROWS: Final = "READ_FTABLE"
"""The one table function that is no call of the person's: it reads rows that the query itself made."""


def check_text(text: str) -> None:
    """Refuse more than one statement, a word that does more than read, and what is answered wrongly. Raises QueryError."""
    code = forbid_words(text, _FORBIDDEN, READING)
    if _MIXED_UP.search(code):
        raise QueryError(
            "The embedded database mixes up the relationships inside all(r IN relationships(way) WHERE r.score ...).",
            known="Lists of their properties are right.",
            next_step="Write all(s IN properties(relationships(way), 'score') WHERE s ...).",
        )


def check_plan(plan: str) -> None:
    """Refuse a plan, as EXPLAIN prints it, with an operator that does more than read. Raises QueryError."""
    operators = set(_OPERATOR.findall(plan))
    foreign = (operators - ALLOWED_OPERATORS) | (set(_FUNCTION.findall(plan)) - {_OWN_ROWS})
    if foreign or not operators:
        raise QueryError(
            f"The query would run {', '.join(sorted(foreign)) or 'something unknown'}, which is not allowed in a question.",
            known=READING,
        )
