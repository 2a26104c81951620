"""The scenario gateway with an absence of 15 s."""
import os

os.environ["LAB_SHORT"] = "1"

import gateway  # noqa: E402  (it asks the environment when it plays)
import lab  # noqa: E402

lab.main("gateway-short", gateway.play)
