"""From labelled frames to triangular factors."""
