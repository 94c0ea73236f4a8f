"""Kill a process at random moments, many times, and look for events that `put()` had promised and nobody sent.

    python -m benchmarks.kill9 [--rounds N] [--seed S]

It is the suite's own test (`tests/outbox/test_fault_f14_kill.py`) with more rounds.
"""

import argparse
import os
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"{options.rounds} rounds with seed {options.seed}")
    test = "tests/outbox/test_fault_f14_kill.py"
    environ = {**os.environ, "KILL_ROUNDS": str(options.rounds), "KILL_SEED": str(options.seed)}
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", "-q", test], env=environ, check=False).returncode)


if __name__ == "__main__":
    main()
