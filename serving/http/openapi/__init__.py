"""The OpenAPI document's components: types and JSON Schemas that several groups of endpoints share."""
