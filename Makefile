# Run the three examples side by side, and their tests. Override a variable like this: make up DJANGO_PORT=8090
FLASK_PORT   ?= 8081
ALPINE_PORT  ?= 8082
DJANGO_PORT  ?= 8083
# Not 5432, because that port is often taken. The Django folder uses 5432.
DB_PORT      ?= 8084
# For a second clone: the names of its containers and images end in this. Don't use two suffixes in one clone.
SUFFIX       ?=

flask  := $(MAKE) -C 01-docker-flask CONTAINER=flask$(SUFFIX) PORT=$(FLASK_PORT) \
          IMAGE=flask-example$(SUFFIX):latest
alpine := $(MAKE) -C 02-docker-flask-alpine CONTAINER=flask-alpine$(SUFFIX) PORT=$(ALPINE_PORT) \
          IMAGE=flask-example$(SUFFIX):alpine
django := $(MAKE) -C 03-docker-compose-django DJANGO_NAME=django$(SUFFIX) PORT=$(DJANGO_PORT) DB_PORT=$(DB_PORT) \
          COMPOSE_PROJECT_NAME=03-docker-compose-django$(SUFFIX) DATA_FOLDER=./data$(SUFFIX)

# Starts a Docker Engine if none answers. Defines the targets engine, engine-down and engine-clean. `up` leaves the start to each
# folder, because Flask then answers before the images of the other two exist. `audit` needs none.
ENGINE_FREE := up audit
include tests/engine/engine.mk

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help up down ps clean secrets doctor test test-faults test-recipes test-oldest test-newest test-arm64 test-podman test-rootless test-swarm test-server test-ci soak bench pictures lint audit

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {gsub(/\$$\$$/, "$$", $$2); printf "  make %-13s %s\n", $$1, $$2}' Makefile tests/engine/engine.mk

up: secrets ## Build and start the three examples; Flask answers first, Flask on Alpine last
	$(flask) run
	$(django) up
	@echo
	@echo "Flask and Django answer. Flask on Alpine is next. Without Docker Hub, this can take some minutes."
	$(alpine) run
	@# `docker run -d` returns before Flask listens
	@curl -s --noproxy '*' -o /dev/null --retry 9 --retry-delay 1 --retry-all-errors http://localhost:$(ALPINE_PORT) || true
	@echo
	@echo "  Flask            http://localhost:$(FLASK_PORT)"
	@echo "  Flask on Alpine  http://localhost:$(ALPINE_PORT)"
	@echo "  Django           http://localhost:$(DJANGO_PORT)"
	@echo "  Django's admin   http://localhost:$(DJANGO_PORT)/admin"
	@echo "  Log in with DJANGO_SUPERUSER and DJANGO_SUPERUSER_PASSWORD from secrets/secrets.txt."

down: ## Stop the three examples; Django's data stays
	-$(flask) kill
	-$(alpine) kill
	-$(django) down

ps: ## List the containers of the three examples
	docker ps --all --filter name='^flask$(SUFFIX)$$' --filter name='^flask-alpine$(SUFFIX)$$' \
	  --filter name='^django$(SUFFIX)$$' --filter name='^03-docker-compose-django$(SUFFIX)-'

clean: down ## Remove the containers, images, network and data of the three examples; secrets/ stays
	-docker image rm flask-example$(SUFFIX):latest flask-example$(SUFFIX):latest-production \
	  flask-example$(SUFFIX):alpine flask-example$(SUFFIX):alpine-production
	-$(django) clean
	rm -rf .venv

secrets: ## Create secrets/secrets.txt with random passwords, unless it exists
	sh 03-docker-compose-django/make-secrets.sh

doctor: ## Check docker, the engine, Compose, ports and secrets, and say how to fix what is wrong
	@sh tests/doctor.sh $(FLASK_PORT) $(ALPINE_PORT) $(DJANGO_PORT) $(DB_PORT)

test: .venv/pytest ## Run the tests on real containers: 6 to 12 minutes
	.venv/bin/pytest tests -m "not slow and not alone" -n 4 --dist loadgroup $(ARGS)
	.venv/bin/pytest tests -m "not slow and alone" $(ARGS)

test-faults: .venv/pytest ## Run all fault tests: killed processes, updates under load, restore, a full disk, a stopped engine
	.venv/bin/pytest tests/faults tests/engine tests/examples/test_base_images.py $(ARGS)

test-recipes: .venv/pytest ## Make projects of your own out of 01 and 03, and follow every page in 03's recipes
	.venv/bin/pytest tests/examples -k "test_recipes or readme_makes_a_project" $(ARGS)

test-oldest: .venv/pytest ## Run the tests of the three folders, production and the base images on the oldest Docker
	sh tests/oldest.sh $(ARGS)

test-newest: .venv/pytest ## Run the tests of 01 and 03 with Python 3.15, and the newest Django and other packages
	sh tests/newest.sh $(ARGS)

test-arm64: .venv/pytest ## Build and run 01, 03 and production for arm64, the processor of many laptops, under emulation
	sh tests/arm64.sh $(ARGS)

test-podman: ## Run the examples' commands with Podman, in a privileged container
	sh tests/other-engines/run.sh podman

test-rootless: ## Run the examples' commands on a rootless Docker Engine, in a privileged container
	sh tests/other-engines/run.sh rootless

test-swarm: .venv/pytest ## Test a Swarm of three private engines under load: updates, scaling, a killed node
	.venv/bin/pytest tests/swarm $(ARGS)

test-server: .venv/pytest ## Deploy, back up and operate a server over SSH, as the pages of production say
	.venv/bin/pytest tests/server $(ARGS)

soak: .venv/pytest ## Check that no acknowledged write is lost in ten minutes of load with random kills (ARGS=MINUTES)
	.venv/bin/python tests/faults/soak.py $(ARGS)

bench: .venv/bench ## Compare the examples with the tutorial, gunicorn and a peer: about 40 minutes
	.venv/bin/python tests/bench/bench.py $(ARGS)

pictures: .venv/pytest ## Draw the pictures in .github/images again; the chart shows the last `make bench`
	sh tests/pictures/pictures.sh $(ARGS)

# Not .venv/bin/checkov, because that script fails if the checkout's path contains a space.
lint: .venv/lint secrets ## Check the style of every file
	.venv/bin/hadolint */Dockerfile */*/Dockerfile */production.Dockerfile \
	  tests/other-engines/*.Dockerfile tests/engine/images/*/Dockerfile
	.venv/bin/python -m checkov.main
	.venv/bin/python -m checkov.main --config-file tests/tools/checkov-tests.yaml
	.venv/bin/zizmor --offline --quiet --persona=auditor .github 03-docker-compose-django/new/.github
	.venv/bin/shellcheck */*.sh */*/*.sh */*/*/*.sh tests/engine/images/*/*.sh
	.venv/bin/ruff check && .venv/bin/ruff format --check
	.venv/bin/yamllint --strict .
	@cd 03-docker-compose-django && docker compose config -q

test-ci: .venv/pytest ## Run the commands of .github/workflows in a fresh clone
	.venv/bin/pytest tests/examples/test_workflows.py $(ARGS)

audit: .venv/lint ## Ask PyPI for known vulnerabilities of all locked packages
	.venv/bin/python -m pip_audit --strict --disable-pip $(addprefix -r ,$(wildcard */requirements*.txt */*/*requirements.txt))

# An empty file that records when the packages were installed. Newer requirements install them again.
.venv/pytest .venv/bench .venv/lint: .venv/%: tests/tools/%-requirements.txt
	@test -x .venv/bin/python || python3 -m venv .venv || { rm -rf .venv; \
	  echo "error: python3 -m venv failed. On Debian, run: apt-get install python3-venv" >&2; exit 1; }
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
