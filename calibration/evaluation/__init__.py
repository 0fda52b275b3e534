"""Whether a quantised model still answers as it should: on labelled data, or beside the model that it was made of."""
