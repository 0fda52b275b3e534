"""`bvx bench`: bundles and what people use instead, measured beside each other, and the report of it."""
