"""Reading rows back: pages of an index, in order, and sums over them."""
