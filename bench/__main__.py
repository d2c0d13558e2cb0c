"""`python -m bench NAME [--quick]`; without a name, lists them."""

import argparse
import importlib
import json
import sys
import time

NAMES = {
    "ingest": "durable acknowledgements a second, beside the same server storing nothing and the usual handlers",
    "route": "events a second that one worker routes into ledger and deliveries, beside the usual handlers",
    "storm": "how fast critical events are routed while 200,000 bulk events wait and more arrive",
    "fairness": "how a quiet merchant fares beside one that has 90 % of the load",
    "deliver": "deliveries a second of one worker, beside the HTTP client alone",
    "brownout": "what a destination that is 100 times slower for a minute does to itself and to the others",
    "gate": "texts a second that are decided with 1M suppressions and 5M ledger rows, and how soon a STOP holds",
    "stops": "texts that reach somebody after a stop that was acknowledged, in 10,000 interleavings with crashes",
    "voice": "how fast calls are answered with PostgreSQL up, stopped and hung, and whether a callback is lost",
    "outage": "what callers meet before, during and after a region of Twilio fails, and while all of it does",
    "watch": "how soon health_watch notices what is wrong, and how often it cries wolf, beside static rules",
    "watch-cost": "what health_watch takes of a core, and of ingest",
    "optout": "how well texts that revoke consent are told from ordinary ones, beside the words that Twilio knows",
    "crash": "what 100 SIGKILLs of web, workers and PostgreSQL under load lose or do twice",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=list(NAMES))
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: to see that it runs, not to measure")
    parser.add_argument("--seeds", choices=("tuning", "held-out"), help="only for watch: held-out unless said")
    chosen = parser.parse_args()
    if chosen.name is None:
        for name, what in NAMES.items():
            print(f"{name:<10} {what}")
        return 0
    options = {} if chosen.seeds is None else {"seeds": chosen.seeds}
    if options and chosen.name != "watch":
        parser.error("only watch takes --seeds")
    began = time.monotonic()
    result = importlib.import_module(f"bench.{chosen.name.replace('-', '_')}").run(quick=chosen.quick, **options)
    document = {"name": chosen.name, **result, "quick": chosen.quick, "took": round(time.monotonic() - began, 1)}
    print(json.dumps(document), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
