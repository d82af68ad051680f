"""One file a peer, which may import its library: it is loaded only in a process of its own."""
