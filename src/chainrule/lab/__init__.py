"""Labs: each claim of the lecture, measured and drawn.

from chainrule import lab
lab.names()                       every lab, in the order of the lecture's list
result = lab.run("fan-out")       measures; `result.holds`, `result.measured.figures`
lab.run("fan-out", out="labs")    also writes labs/fan-out.html
"""

from chainrule.explain import style
from chainrule.lab.catalogue import load, names
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.running import Result, run

__all__ = ["Lab", "Measured", "Result", "load", "names", "run", "style"]
