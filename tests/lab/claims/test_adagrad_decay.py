import chainrule as cr
from chainrule.lab.claims import adagrad_decay as lab


def failed():
    return [sentence for sentence, true in lab.measure().checks.items() if not true]


def test_an_adagrad_that_forgets_is_noticed(monkeypatch):
    forgets = cr.optim.RMSProp(1.0)
    monkeypatch.setattr(cr.optim.AdaGrad, "update", lambda self, *given: forgets.update(*given, self.lr))
    assert any("ever grows with AdaGrad" in sentence for sentence in failed())


def test_an_rmsprop_that_does_not_forget_is_noticed(monkeypatch):
    sums = cr.optim.AdaGrad(1.0)
    monkeypatch.setattr(cr.optim.RMSProp, "update", lambda self, *given: sums.update(*given, self.lr))
    assert any("RMSProp's keeps its level" in sentence for sentence in failed())
