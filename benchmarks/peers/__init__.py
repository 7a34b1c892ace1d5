"""One module for each rival. It is imported in two places: here, and in the rival's own environment as the program
that runs there. At import it therefore needs nothing but the standard library."""
