"""One file a claim: each measures it and draws it. The file's name, with dashes, is the lab's."""
