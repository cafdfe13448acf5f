"""For engines that have no optimizer: Adam in place, on NumPy arrays."""

import numpy as np


class Adam:
    """As Kingma and Ba print it."""

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8) -> None:
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.moments = {}
        self.t = 0

    def step(self, pairs) -> None:
        """Update each parameter of the pairs name -> (parameter, gradient)."""
        self.t += 1
        rate = self.lr * (1 - self.beta2**self.t) ** 0.5 / (1 - self.beta1**self.t)
        eps = self.eps * (1 - self.beta2**self.t) ** 0.5
        for name, (parameter, g) in pairs.items():
            m, v = self.moments.setdefault(name, (np.zeros_like(parameter), np.zeros_like(parameter)))
            m *= self.beta1
            m += (1 - self.beta1) * g
            v *= self.beta2
            v += (1 - self.beta2) * (g * g)
            root = np.sqrt(v)
            root += eps
            parameter -= rate * m / root
