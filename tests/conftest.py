import sys
from pathlib import Path

# pytest's importlib mode leaves the path alone; the shared generators are imported by name.
sys.path.insert(0, str(Path(__file__).parent))
