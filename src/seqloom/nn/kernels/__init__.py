"""Speed without meaning: each kernel gives the numbers of a plain reference, in value and in gradient."""
