"""For all tests: none depends on how busy the machine is, nor on a draw of lots: CI says of the same code the same every time.

``pytest --hypothesis-profile=explore`` draws new examples instead, and more of them.
"""

from hypothesis import settings

settings.register_profile("same every time", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("same every time")
