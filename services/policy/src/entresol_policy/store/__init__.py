"""What policy remembers, by subject: `books` (what is in force), `cases` (requests that were not decided at once, and
what people were asked), `entities` (the catalog as it was told of), `shares` (what counts in quotas).
"""

from entresol_policy.store.tables import Base

__all__ = ["Base"]
