"""Writing a recipe down as QuantizeLinear and DequantizeLinear: one file for each kind of place."""
