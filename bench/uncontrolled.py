"""`python -m bench.uncontrolled web|worker`: Holdfast without storm control: no memory of ids, a fixed router count."""

from holdfast import worker
from holdfast.cli import main
from holdfast.inbox import service

if __name__ == "__main__":
    vars(service)["REMEMBERED"] = 0
    vars(worker)["ADAPTS"] = False
    main()
