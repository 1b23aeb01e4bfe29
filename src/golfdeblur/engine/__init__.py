"""How an array of any size goes through a network in bounded memory: cells, scales, tiles, strips, plans."""
