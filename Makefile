# make env   the environment: .venv with Holdfast, its libraries and its tools, exactly as locked
# make demo  everything on emulated Stripe traffic; Ctrl-C stops it
# make test  every check and every test
# Needs python3 (3.11 or newer) and make. Nothing is installed outside this directory, except that `make test`,
# as root on Debian, adds the package postgresql-15 where no PostgreSQL server is installed.

export UV_PYTHON_DOWNLOADS := never
# The system's own Python where it is new enough: distributions build it with profile-guided optimisation, which makes
# Holdfast a third faster than most interpreters built by hand.
export UV_PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo /usr/bin/python3 || echo python3)
UV := .tools/uv

.PHONY: env demo test check format clean

env: .venv/.ready

.tools/uv: tools/get_uv.py
	@python3 tools/get_uv.py

.venv/.ready: .tools/uv pyproject.toml uv.lock
	@$(UV) sync --locked --quiet
	@touch $@

demo: env
	@.venv/bin/holdfast demo

check: env
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

test: check
	@sh tools/get_postgres.sh
	.venv/bin/pytest -n 4 --dist loadscope --no-loadscope-reorder

format: env
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

clean:
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
