"""Questions with what is to be read before they can be answered."""
