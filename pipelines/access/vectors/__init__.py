"""Files of vectors that users bring as labels: read in pieces, and prepared for box queries."""
