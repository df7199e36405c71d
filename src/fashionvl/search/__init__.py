"""Search: vectors of pictures that answer with products, filters, composed queries, and two stages in one order."""
