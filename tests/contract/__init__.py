"""The contract: schemas, examples, models, and what is really written."""
