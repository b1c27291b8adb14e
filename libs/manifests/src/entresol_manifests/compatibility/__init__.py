"""What changed between two versions of JSON Schemas, and whether documents that fitted before may be refused now."""

from entresol_manifests.compatibility.comparison import DEEPEST, MOST_PAIRS, Comparison
from entresol_manifests.compatibility.references import Place, Schema, Tree

__all__ = ["DEEPEST", "MOST_PAIRS", "Comparison", "Place", "Schema", "Tree"]
