"""How much is made up for each property of the surfaces.

The long run, which sets the variable, makes more than 10,000 requests over all surfaces, and 1,000
conversations for each round trip.
"""

import os

IS_LONG = bool(os.environ.get("MODELBAY_LONG_RUN"))
REQUESTS = 800 if IS_LONG else 50
CONVERSATIONS = 1000 if IS_LONG else 100
