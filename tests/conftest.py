import os
import sys
from pathlib import Path

from hypothesis import settings

# pytest's importlib mode leaves the path alone; the shared generators are imported by name.
sys.path.insert(0, str(Path(__file__).parent))

# Tests neither read nor write the user's cache, unless they are told to.
os.environ.setdefault("CHAINRULE_CACHE", "off")

# No test asserts a time: a slow machine must not make one fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
