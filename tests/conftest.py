import os
import sys
from pathlib import Path

# pytest's importlib mode leaves the path alone; the shared generators are imported by name.
sys.path.insert(0, str(Path(__file__).parent))

# Tests neither read nor write the user's cache, unless they are told to.
os.environ.setdefault("CHAINRULE_CACHE", "off")
