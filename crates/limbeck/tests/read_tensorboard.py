"""Prints the scalars of a run directory, as TensorBoard reads them, as JSON: {tag: [[step, value], ...]}.

pip install tensorboard; python read_tensorboard.py RUN_DIRECTORY
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
tags = events.Tags()["scalars"]
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags}))
