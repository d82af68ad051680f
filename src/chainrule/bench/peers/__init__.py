"""One file per peer, which may import its library: it is loaded only in a process of its own."""
