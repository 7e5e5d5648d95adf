"""`python -m service` is the same as the command `glyphserve`."""

import sys

# `python -m` searches the current folder first, where a json.py or a folder `training` may lie. Nothing of it is run,
# unless it is the source tree itself.
if not sys.flags.safe_path and __file__.rpartition("/service/")[0] != sys.path[0]:
    del sys.path[0]

from service.cli import main

if __name__ == "__main__":
    main()
