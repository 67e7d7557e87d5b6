"""What a person's query to a Neo4j server may be: one statement that only reads its graph.

EXPLAIN alone is not enough: operators of a subquery inside a list or a CASE do not appear in the
plan (measured on 5.26), and Community has no roles. So the text is looked at too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flowatlas.errors import QueryError
from flowatlas.stores.cypher_text import forbid_words, without_quotes

READING: Final = (
    "A question may MATCH, UNWIND, WITH, CALL { }, UNION and RETURN; it cannot write, call procedures or read files."
)
_WORDS: Final = (
    "LOAD SHOW TERMINATE TRANSACTIONS USE CREATE MERGE INSERT DELETE DETACH SET REMOVE FOREACH DROP ALTER PROFILE "
    "EXPLAIN CYPHER GRANT DENY REVOKE"
).split()
_PROCEDURE: Final = re.compile(r"\bCALL\b(?!\s*[{(])", re.IGNORECASE)
_DOTTED_CALL: Final = re.compile(r"([^\W\d]\w*)(?:\s*\.\s*\w+)+\s*\(")
_NAMESPACES: Final = frozenset(
    {"date", "datetime", "localdatetime", "localtime", "time", "duration", "point", "vector"}
)

_PLAIN: Final = """
    AllNodesScan IntersectionNodeByLabelsScan NodeByElementIdSeek NodeByIdSeek NodeByLabelScan SubtractionNodeByLabelsScan
    UnionNodeByLabelsScan AssertingMultiNodeIndexSeek MultiNodeIndexSeek NodeIndexContainsScan NodeIndexEndsWithScan
    NodeIndexScan NodeIndexSeek NodeIndexSeekByRange NodeUniqueIndexSeek NodeUniqueIndexSeekByRange
    NodeCountFromCountStore RelationshipCountFromCountStore AssertingMultiRelationshipIndexSeek
    AggregationFromCountStore AllShortestPaths AntiConditionalApply AntiSemiApply Anti Apply Argument AssertSameNode
    AssertSameRelationship BFSPruningVarExpand BidirectionalRepeat(Trail) CacheProperties CartesianProduct
    ConditionalApply Distinct Eager EagerAggregation EmptyResult EmptyRow Expand(All) Expand(Into) Filter
    LeftOuterHashJoin LetAntiSemiApply LetSelectOrAntiSemiApply LetSelectOrSemiApply LetSemiApply Limit
    MultiRelationshipIndexSeek NodeHashJoin NodeLeftOuterHashJoin NodeRightOuterHashJoin NullifyMetadata Optional
    OptionalExpand(All) OptionalExpand(Into) OrderedAggregation OrderedDistinct OrderedUnion PartialSort PartialTop
    PathPropagatingBFS ProduceResults ProjectEndpoints Projection Repeat(Trail) Repeat(Walk) RightOuterHashJoin
    RollUpApply SelectOrAntiSemiApply SelectOrSemiApply SemiApply ShortestPath Skip Sort StatefulShortestPath(All)
    StatefulShortestPath(Into) Top Top1WithTies TriadicBuild TriadicFilter TriadicSelection Union Unwind ValueHashJoin
    VarLengthExpand(All) VarLengthExpand(Into) VarLengthExpand(Pruning) VarLengthExpand(Pruning,BFS)
    VarLengthExpand(Pruning,BFS,All) VarLengthExpand(Pruning,BFS,Into)
"""
_SCANS: Final = """
    AllRelationshipsScan RelationshipByElementIdSeek RelationshipByIdSeek RelationshipIndexContainsScan
    RelationshipIndexEndsWithScan RelationshipIndexScan RelationshipIndexSeek RelationshipIndexSeekByRange
    RelationshipTypeScan RelationshipUniqueIndexSeek RelationshipUniqueIndexSeekByRange UnionRelationshipTypesScan
"""
ALLOWED_OPERATORS: Final = frozenset(_PLAIN.split()) | {
    f"{direction}{scan}" for direction in ("Directed", "Undirected") for scan in _SCANS.split()
}


def check_text(text: str) -> None:
    """Refuse text that may do more than read. Raises QueryError."""
    if "\\u" in text.lower():
        # The server decodes these before it reads quotes and words, so what is seen here could be something else.
        raise QueryError(r"\u escapes are not allowed in a question.", next_step="Write the character itself.")
    code = forbid_words(text, _WORDS, READING)
    if _PROCEDURE.search(code):
        raise QueryError("Calling procedures is not allowed in a question.", known=READING)
    for called in _DOTTED_CALL.finditer(without_quotes(text)):
        if called[1].lower() not in _NAMESPACES:
            raise QueryError(f"The function {called[0].rstrip('( ')} is not allowed in a question.", known=READING)


def check_plan(query_type: str | None, plan: Mapping[str, Any] | None, database: str) -> None:
    """Refuse a plan that does more than read, or in another database. Raises QueryError."""
    if query_type != "r" or plan is None:
        raise QueryError("The query would change the database.", known=READING)
    for operator in operators(plan):
        name, _, where = operator.partition("@")
        if name not in ALLOWED_OPERATORS or where not in ("", database):
            raise QueryError(f"The query would run {operator}, which is not allowed in a question.", known=READING)


def operators(plan: Mapping[str, Any]) -> Iterator[str]:
    """Names of all operators of a plan."""
    yield plan["operatorType"]
    for child in plan.get("children", ()):
        yield from operators(child)
